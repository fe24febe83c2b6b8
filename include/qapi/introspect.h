/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Generated data behind qmp_introspect(). */
#ifndef QAPI_INTROSPECT_H
#define QAPI_INTROSPECT_H

#include <stdint.h>

typedef enum QapiEntityKind {
    QAPI_ENTITY_COMMAND,
    QAPI_ENTITY_EVENT,
    QAPI_ENTITY_TYPE,
} QapiEntityKind;

typedef struct QapiEntity {
    QapiEntityKind kind;
    const char *name;      /* of a command or event */
    const char *module;    /* of an event */
    const char *json;      /* its SchemaInfo */
    const uint16_t *refs;  /* entities it names, ending with UINT16_MAX */
} QapiEntity;

typedef struct QapiSchemaData {
    const QapiEntity *entities;
    uint16_t n;
} QapiSchemaData;

extern const QapiSchemaData qapi_schema_data;

#endif
