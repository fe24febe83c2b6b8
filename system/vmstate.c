/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of the machine's state: fields as bytes, and from bytes to the machine in two steps. */
#include "qemu/osdep.h"

#include "system/device.h"
#include "vmstate-int.h"

/* More than any clock shows, and far from where sums of times overflow. */
#define MAX_TIME_NS (INT64_MAX / 8)

/* ---- bytes ----------------------------------------------------------------------------------- */

void vm_put_uint(GByteArray *out, uint64_t value, unsigned size)
{
    uint64_t bytes = GUINT64_TO_LE(value);

    g_byte_array_append(out, (const uint8_t *)&bytes, size);
}

void vm_put_str(GByteArray *out, const char *text)
{
    size_t len = MIN(strlen(text), UINT16_MAX);

    vm_put_uint(out, len, 2);
    g_byte_array_append(out, (const uint8_t *)text, len);
}

const uint8_t *vm_get_bytes(VmCursor *cursor, size_t len)
{
    const uint8_t *at = cursor->at;

    if (cursor->is_short || len > cursor->left) {
        cursor->is_short = true;
        return NULL;
    }
    cursor->at += len;
    cursor->left -= len;
    return at;
}

uint64_t vm_get_uint(VmCursor *cursor, unsigned size)
{
    const uint8_t *at = vm_get_bytes(cursor, size);
    uint64_t bytes = 0;

    if (at) {
        memcpy(&bytes, at, size);
    }
    return GUINT64_FROM_LE(bytes);
}

char *vm_get_str(VmCursor *cursor)
{
    size_t len = vm_get_uint(cursor, 2);
    const uint8_t *at = vm_get_bytes(cursor, len);

    if (!at || memchr(at, 0, len)) {
        cursor->is_short = true;
        return NULL;
    }
    return g_strndup((const char *)at, len);
}

bool vm_cursor_is_done(const VmCursor *cursor)
{
    return !cursor->is_short && !cursor->left;
}

/* ---- the list -------------------------------------------------------------------------------- */

void vm_parts_add(VmStateParts *parts, const VmStateDescription *desc, uint32_t instance,
                  void *opaque)
{
    VmPart *part = g_new0(VmPart, 1);

    *part = (VmPart) {desc, g_strdup(parts->owner), instance, opaque, NULL, false};
    g_ptr_array_add(parts->list, part);
}

static void part_free(void *opaque)
{
    VmPart *part = opaque;

    g_free(part->staged);
    g_free(part->owner);
    g_free(part);
}

static void set_owner(VmStateParts *parts, const char *path)
{
    g_free(parts->owner);
    parts->owner = g_strdup(path);
}

typedef struct Collection {
    VmStateParts *parts;
    Error *err;
} Collection;

static bool collect_device(Device *dev, void *opaque)
{
    Collection *c = opaque;

    set_owner(c->parts, dev->path);
    if (dev->type->state) {
        vm_parts_add(c->parts, dev->type->state, 0, dev);
    } else if (dev->type->add_state) {
        dev->type->add_state(dev, c->parts);
    } else if (!dev->type->has_no_state) {
        error_setg(&c->err, "State blocked by non-migratable device '%s'",
                   dev->id ? dev->id : dev->type->name);
    }
    return !c->err;
}

VmStateParts *vm_parts_collect(Machine *machine, Error **errp)
{
    g_autoptr(VmStateParts) parts = g_new0(VmStateParts, 1);
    Collection c = {parts, NULL};

    parts->list = g_ptr_array_new_with_free_func(part_free);
    if (machine->cpu) {
        set_owner(parts, "/machine/cpu[0]");
        machine->cpu->ops->add_state(machine->cpu, parts);
    }
    if (machine->type->add_state) {
        set_owner(parts, "/machine");
        machine->type->add_state(machine, parts);
    }
    device_foreach(collect_device, &c);
    if (c.err) {
        error_propagate(errp, c.err);
        return NULL;
    }
    return g_steal_pointer(&parts);
}

void vm_parts_free(VmStateParts *parts)
{
    if (parts) {
        g_clear_pointer(&parts->list, g_ptr_array_unref);
        g_free(parts->owner);
        g_free(parts);
    }
}

bool vmstate_can_save(Error **errp)
{
    g_autoptr(VmStateParts) parts = vm_parts_collect(machine_get(), errp);

    return parts;
}

/* ---- saving ---------------------------------------------------------------------------------- */

static uint64_t element_get(const void *at, unsigned size)
{
    switch (size) {
    case 1:
        return *(const uint8_t *)at;
    case 2:
        return *(const uint16_t *)at;
    case 4:
        return *(const uint32_t *)at;
    default:
        return *(const uint64_t *)at;
    }
}

static void element_set(void *at, unsigned size, uint64_t value)
{
    switch (size) {
    case 1:
        *(uint8_t *)at = value;
        break;
    case 2:
        *(uint16_t *)at = value;
        break;
    case 4:
        *(uint32_t *)at = value;
        break;
    default:
        *(uint64_t *)at = value;
        break;
    }
}

void vm_part_put(const VmPart *part, GByteArray *out)
{
    const VmStateDescription *desc = part->desc;

    if (desc->is_needed && !desc->is_needed(part->opaque)) {
        return;
    }
    if (desc->pre_save) {
        desc->pre_save(part->opaque);
    }
    vm_put_str(out, part->owner);
    vm_put_str(out, desc->name);
    vm_put_uint(out, part->instance, 4);
    vm_put_uint(out, desc->version, 4);
    for (const VmField *field = desc->fields; field->name; field++) {
        const char *at = (const char *)part->opaque + field->offset;

        for (uint32_t i = 0; i < field->count; i++, at += field->size) {
            vm_put_uint(out, element_get(at, field->size), field->size);
        }
    }
}

/* ---- loading into copies --------------------------------------------------------------------- */

static void clear_fields(VmPart *part)
{
    for (const VmField *field = part->desc->fields; field->name; field++) {
        memset((char *)part->staged + field->offset, 0, (size_t)field->size * field->count);
    }
}

static void begin_staging(VmPart *part)
{
    part->staged = g_memdup2(part->opaque, part->desc->size);
    clear_fields(part);
}

static bool stage_field(const VmPart *part, const VmField *field, VmCursor *cursor, Error **errp)
{
    char *at = (char *)part->staged + field->offset;

    for (uint32_t i = 0; i < field->count; i++, at += field->size) {
        uint64_t value = vm_get_uint(cursor, field->size);

        if (field->is_bool && value > 1) {
            error_setg(errp, "'%s' is neither true nor false", field->name);
            return false;
        }
        element_set(at, field->size, value);
    }
    return true;
}

static bool stage_part(VmPart *part, uint32_t version, VmCursor *cursor, Error **errp)
{
    const VmStateDescription *desc = part->desc;

    if (part->is_read) {
        error_setg(errp, "it is there twice");
        return false;
    }
    if (version > desc->version || version < MAX(desc->min_version, 1)) {
        error_setg(errp, "version %u is not known", version);
        return false;
    }
    begin_staging(part);
    for (const VmField *field = desc->fields; field->name; field++) {
        if (field->since <= version && !stage_field(part, field, cursor, errp)) {
            return false;
        }
    }
    if (!vm_cursor_is_done(cursor)) {
        error_setg(errp, "its length is wrong");
        return false;
    }
    part->is_read = true;
    return true;
}

static VmPart *find_part(const VmStateParts *parts, const char *owner, const char *name,
                         uint32_t instance)
{
    for (guint i = 0; i < parts->list->len; i++) {
        VmPart *part = parts->list->pdata[i];

        if (!strcmp(part->owner, owner) && !strcmp(part->desc->name, name) &&
            part->instance == instance) {
            return part;
        }
    }
    return NULL;
}

static void prepend_part(const VmPart *part, Error **errp)
{
    error_prepend(errp, "State of '%s' (%s %u): ", part->owner, part->desc->name, part->instance);
}

bool vm_parts_stage(VmStateParts *parts, VmCursor *cursor, Error **errp)
{
    g_autofree char *owner = vm_get_str(cursor);
    g_autofree char *name = vm_get_str(cursor);
    uint32_t instance = vm_get_uint(cursor, 4);
    uint32_t version = vm_get_uint(cursor, 4);
    VmPart *part;

    if (cursor->is_short) {
        error_setg(errp, "A record of the machine's state is cut off");
        return false;
    }
    part = find_part(parts, owner, name, instance);
    if (!part) {
        error_setg(errp, "Unknown savevm section or instance '%s/%s' %u", owner, name, instance);
        error_append_hint(errp, "The machine must have the devices that it had when it was saved, "
                          "hot-plugged ones too.\n");
        return false;
    }
    if (!stage_part(part, version, cursor, errp)) {
        prepend_part(part, errp);
        return false;
    }
    return true;
}

bool vm_check_time(const char *name, int64_t ns, Error **errp)
{
    if (ns < -MAX_TIME_NS || ns > MAX_TIME_NS) {
        error_setg(errp, "'%s' is out of range", name);
        return false;
    }
    return true;
}

static bool check_part(VmPart *part, Error **errp)
{
    const VmStateDescription *desc = part->desc;

    if (!part->is_read && !desc->is_needed) {
        error_setg(errp, "it is missing");
        return false;
    }
    if (!part->is_read) {
        begin_staging(part);
    }
    return !desc->check || desc->check(part->staged, part->opaque, errp);
}

bool vm_parts_check(VmStateParts *parts, Error **errp)
{
    for (guint i = 0; i < parts->list->len; i++) {
        if (!check_part(parts->list->pdata[i], errp)) {
            prepend_part(parts->list->pdata[i], errp);
            return false;
        }
    }
    return true;
}

/* ---- from the copies to the machine ---------------------------------------------------------- */

static void copy_fields(const VmPart *part)
{
    for (const VmField *field = part->desc->fields; field->name; field++) {
        memcpy((char *)part->opaque + field->offset, (const char *)part->staged + field->offset,
               (size_t)field->size * field->count);
    }
}

/* The parts [@first, @end) of one owner. */
static void commit_owner(const VmStateParts *parts, guint first, guint end)
{
    for (guint i = first; i < end; i++) {
        copy_fields(parts->list->pdata[i]);
    }
    for (guint i = first; i < end; i++) {
        const VmPart *part = parts->list->pdata[i];

        if (part->desc->post_load) {
            part->desc->post_load(part->opaque);
        }
    }
}

static bool have_same_owner(const VmStateParts *parts, guint a, guint b)
{
    return !strcmp(((VmPart *)parts->list->pdata[a])->owner,
                   ((VmPart *)parts->list->pdata[b])->owner);
}

void vm_parts_commit(VmStateParts *parts)
{
    guint end = parts->list->len;

    while (end) {
        guint first = end - 1;

        while (first && have_same_owner(parts, first - 1, end - 1)) {
            first--;
        }
        commit_owner(parts, first, end);
        end = first;
    }
}
