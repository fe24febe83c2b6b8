/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The operation table.  A line of op_groups[] gives what a group of operations has in common,
 * its text their names and opcodes.  Within a group names stand in no particular order; between
 * groups the first match wins.
 */
#include "qemu/osdep.h"

#include "ops.h"

#define ANY E2K_ANY
#define MAS E2K_OP_MAS
#define PAIR E2K_OP_PAIR
#define F1 E2K_F1
#define F2 E2K_F2
#define F3 E2K_F3
#define F7 E2K_F7
#define F8 E2K_F8
#define F10 E2K_F10
#define F11 E2K_F11
#define F11_LIT8 E2K_F11_LIT8
#define F11_MERGE E2K_F11_MERGE
#define F12 E2K_F12
#define F12_IBRANCHD E2K_F12_IBRANCHD
#define F12_ICALLD E2K_F12_ICALLD
#define F12_PSHUFH E2K_F12_PSHUFH
#define F13 E2K_F13
#define F15 E2K_F15
#define F16 E2K_F16
#define F17 E2K_F17
#define F19 E2K_F19
#define F21 E2K_F21
#define F21_MERGE E2K_F21_MERGE
#define F22 E2K_F22
#define MERGE E2K_MERGE
#define AAURR E2K_AAURR
#define AAURW E2K_AAURW

typedef struct OpGroup {
    uint8_t form;
    const char *channels;
    const char *sizes;
    uint8_t page;
    int16_t opce1;
    int16_t cmp;
    int16_t ales;
    uint8_t flags;
    uint8_t min_isa;
    uint8_t max_isa;
    const char *ops; /* "name=opcode ..." */
} OpGroup;

static const OpGroup op_groups[] = {
#include "ops.def"
};

#define N_PAGES 0x18

typedef struct OpTable {
    E2kOp *ops;
    size_t n;
    int16_t first[N_PAGES][128];
} OpTable;

static size_t group_size(const OpGroup *group)
{
    size_t n = 0;

    for (const char *p = group->ops; *p; p++) {
        n += *p == '=';
    }
    return n;
}

static uint8_t channel_bits(const char *channels)
{
    uint8_t bits = 0;

    for (; *channels; channels++) {
        bits |= 1 << (*channels - '0');
    }
    return bits;
}

/* Fill in one operation from "name=opcode"; returns what follows it. */
static const char *op_parse(E2kOp *op, const OpGroup *group, const char *text)
{
    size_t len = strcspn(text, "=");
    char *end;

    assert(len < sizeof(op->name) && strlen(group->sizes) < sizeof(op->sizes));
    memcpy(op->name, text, len);
    strcpy(op->sizes, group->sizes);
    op->form = group->form;
    op->opcode = strtoul(text + len + 1, &end, 16);
    op->page = group->page;
    op->channels = channel_bits(group->channels);
    op->flags = group->flags;
    op->min_isa = group->min_isa;
    op->max_isa = group->max_isa;
    op->opce1 = group->opce1;
    op->cmp = group->cmp;
    op->ales = group->ales;
    op->next = -1;
    return *end ? end + 1 : end;
}

static void table_append(OpTable *table, int16_t index)
{
    E2kOp *op = &table->ops[index];
    int16_t *link = &table->first[op->page][op->opcode];

    while (*link >= 0) {
        link = &table->ops[*link].next;
    }
    *link = index;
}

static OpTable *table_new(void)
{
    OpTable *table = g_new0(OpTable, 1);

    for (size_t i = 0; i < G_N_ELEMENTS(op_groups); i++) {
        table->n += group_size(&op_groups[i]);
    }
    table->ops = g_new0(E2kOp, table->n);
    memset(table->first, 0xff, sizeof(table->first));

    int16_t index = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(op_groups); i++) {
        const char *text = op_groups[i].ops;

        while (*text) {
            text = op_parse(&table->ops[index], &op_groups[i], text);
            table_append(table, index++);
        }
    }
    return table;
}

static const OpTable *table_get(void)
{
    static OpTable *table;

    if (g_once_init_enter(&table)) {
        g_once_init_leave(&table, table_new());
    }
    return table;
}

static bool op_matches(const E2kOp *op, const E2kOpKey *key)
{
    return (op->channels >> key->channel & 1)
        && key->isa >= op->min_isa && key->isa <= op->max_isa
        && (op->opce1 == E2K_ANY || op->opce1 == (int)(key->als >> 16 & 0xff))
        && (op->cmp == E2K_ANY || op->cmp == (int)(key->als >> 5 & 7))
        && (op->ales == E2K_ANY || op->ales == key->ales);
}

const E2kOp *e2k_op_find(const E2kOpKey *key)
{
    const OpTable *table = table_get();

    if (key->page >= N_PAGES) {
        return NULL;
    }
    int16_t index = table->first[key->page][key->als >> 24 & 0x7f];
    while (index >= 0) {
        const E2kOp *op = &table->ops[index];

        if (op_matches(op, key)) {
            return op;
        }
        index = op->next;
    }
    return NULL;
}

const E2kOp *e2k_op_table(size_t *n)
{
    const OpTable *table = table_get();

    *n = table->n;
    return table->ops;
}

unsigned e2k_form_sources(E2kForm form)
{
    switch (form) {
    case E2K_F1:
    case E2K_F7:
    case E2K_F11:
    case E2K_F11_LIT8:
    case E2K_F11_MERGE:
    case E2K_F17:
    case E2K_MERGE:
        return 3;
    case E2K_F3:
    case E2K_F13:
    case E2K_F21:
    case E2K_F21_MERGE:
        return 7;
    case E2K_F2:
    case E2K_F8:
    case E2K_F12:
    case E2K_F12_IBRANCHD:
    case E2K_F12_ICALLD:
    case E2K_F12_PSHUFH:
    case E2K_F15:
    case E2K_F22:
        return 2;
    case E2K_F10:
    case E2K_AAURW:
        return 4;
    case E2K_F16:
    case E2K_F19:
    case E2K_AAURR:
        return 0;
    }
    return 0;
}
