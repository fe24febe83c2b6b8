/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ordered hash behind QDict.
 *
 * Entries form a list in order of insertion.  Small dicts, nearly all of them, are searched along
 * that list; a dict that outgrows SMALL_DICT gets buckets, chained through the same entries.
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qobject-internal.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"

#define SMALL_DICT 8

struct QDictEntry {
    QDictEntry *next, *prev;  /* in order of insertion */
    QDictEntry *chain;        /* in the same bucket */
    QObject *value;
    uint32_t hash;
    char key[];
};

/* Keys may be chosen by an enemy, so the hash depends on a number he does not know. */
static uint64_t hash_seed(void)
{
    static gsize initialized;
    static uint64_t seed;

    if (g_once_init_enter(&initialized)) {
        seed = random_u64() | 1;
        g_once_init_leave(&initialized, 1);
    }
    return seed;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t hash_key(const char *key, size_t len)
{
    uint64_t seed = hash_seed();
    uint64_t h = seed ^ len;
    uint64_t word;

    for (; len >= sizeof(word); key += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, key, sizeof(word));
        h = mix(h ^ word, seed ^ UINT64_C(0x9e3779b97f4a7c15));
    }
    word = 0;
    memcpy(&word, key, len);
    h = mix(h ^ word, seed ^ UINT64_C(0xd1b54a32d192ed03));
    return h ^ (h >> 32);
}

static QDictEntry **bucket(const QDict *dict, uint32_t hash)
{
    return &dict->buckets[hash & (dict->n_buckets - 1)];
}

static QDictEntry *find_hashed(const QDict *dict, const char *key, uint32_t hash)
{
    QDictEntry *e;

    if (dict->buckets) {
        for (e = *bucket(dict, hash); e; e = e->chain) {
            if (e->hash == hash && g_str_equal(e->key, key)) {
                return e;
            }
        }
        return NULL;
    }
    for (e = dict->first; e; e = e->next) {
        if (e->hash == hash && g_str_equal(e->key, key)) {
            return e;
        }
    }
    return NULL;
}

static QDictEntry *find(const QDict *dict, const char *key)
{
    return dict->size ? find_hashed(dict, key, hash_key(key, strlen(key))) : NULL;
}

static void chain_entry(QDict *dict, QDictEntry *e)
{
    QDictEntry **head = bucket(dict, e->hash);

    e->chain = *head;
    *head = e;
}

static void grow(QDict *dict)
{
    g_free(dict->buckets);
    dict->n_buckets = dict->n_buckets ? dict->n_buckets * 4 : SMALL_DICT * 4;
    dict->buckets = g_new0(QDictEntry *, dict->n_buckets);
    for (QDictEntry *e = dict->first; e; e = e->next) {
        chain_entry(dict, e);
    }
}

QDict *qdict_new(void)
{
    QDict *dict = g_new0(QDict, 1);

    qobject_head_init(&dict->base, QTYPE_QDICT);
    return dict;
}

void qdict_destroy(QDict *dict)
{
    QDictEntry *next;

    for (QDictEntry *e = dict->first; e; e = next) {
        next = e->next;
        qobject_unref(e->value);
        g_free(e);
    }
    g_free(dict->buckets);
    g_free(dict);
}

void qdict_put_obj(QDict *dict, const char *key, QObject *value)
{
    size_t len = strlen(key);
    uint32_t hash = hash_key(key, len);
    QDictEntry *e = find_hashed(dict, key, hash);

    if (e) {
        QObject *old = e->value;

        e->value = value;
        qobject_unref(old);
        return;
    }
    e = g_malloc(sizeof(*e) + len + 1);
    memcpy(e->key, key, len + 1);
    e->hash = hash;
    e->value = value;
    e->chain = NULL;
    e->next = NULL;
    e->prev = dict->last;
    *(dict->last ? &dict->last->next : &dict->first) = e;
    dict->last = e;
    dict->size++;
    if (dict->size > MAX(dict->n_buckets, SMALL_DICT)) {
        grow(dict);
    } else if (dict->buckets) {
        chain_entry(dict, e);
    }
}

void qdict_put_int(QDict *dict, const char *key, int64_t value)
{
    qdict_put(dict, key, qnum_from_int(value));
}

void qdict_put_uint(QDict *dict, const char *key, uint64_t value)
{
    qdict_put(dict, key, qnum_from_uint(value));
}

void qdict_put_bool(QDict *dict, const char *key, bool value)
{
    qdict_put(dict, key, qbool_from_bool(value));
}

void qdict_put_str(QDict *dict, const char *key, const char *value)
{
    qdict_put(dict, key, qstring_from_str(value));
}

void qdict_put_null(QDict *dict, const char *key)
{
    qdict_put(dict, key, qnull());
}

void qdict_del(QDict *dict, const char *key)
{
    QDictEntry *e = find(dict, key);

    if (!e) {
        return;
    }
    if (dict->buckets) {
        QDictEntry **link = bucket(dict, e->hash);

        while (*link != e) {
            link = &(*link)->chain;
        }
        *link = e->chain;
    }
    *(e->prev ? &e->prev->next : &dict->first) = e->next;
    *(e->next ? &e->next->prev : &dict->last) = e->prev;
    dict->size--;
    qobject_unref(e->value);
    g_free(e);
}

QObject *qdict_get(const QDict *dict, const char *key)
{
    QDictEntry *e = find(dict, key);

    return e ? e->value : NULL;
}

bool qdict_haskey(const QDict *dict, const char *key)
{
    return find(dict, key) != NULL;
}

size_t qdict_size(const QDict *dict)
{
    return dict->size;
}

void qdict_swap(QDict *a, QDict *b)
{
    QDict old_a = *a;
    size_t refcnt_a = a->base.refcnt, refcnt_b = b->base.refcnt;

    *a = *b;
    *b = old_a;
    a->base.refcnt = refcnt_a;
    b->base.refcnt = refcnt_b;
}

/* ---- typed getters ---- */

int64_t qdict_get_int(const QDict *dict, const char *key)
{
    QNum *qn = qobject_to(QNum, qdict_get(dict, key));

    assert(qn);
    return qnum_get_int(qn);
}

bool qdict_get_bool(const QDict *dict, const char *key)
{
    QBool *qb = qobject_to(QBool, qdict_get(dict, key));

    assert(qb);
    return qb->value;
}

const char *qdict_get_str(const QDict *dict, const char *key)
{
    const char *str = qobject_get_try_str(qdict_get(dict, key));

    assert(str);
    return str;
}

int64_t qdict_get_try_int(const QDict *dict, const char *key, int64_t def)
{
    QNum *qn = qobject_to(QNum, qdict_get(dict, key));
    int64_t value;

    return qn && qnum_get_try_int(qn, &value) ? value : def;
}

bool qdict_get_try_bool(const QDict *dict, const char *key, bool def)
{
    QBool *qb = qobject_to(QBool, qdict_get(dict, key));

    return qb ? qb->value : def;
}

const char *qdict_get_try_str(const QDict *dict, const char *key)
{
    return qobject_get_try_str(qdict_get(dict, key));
}

QDict *qdict_get_qdict(const QDict *dict, const char *key)
{
    return qobject_to(QDict, qdict_get(dict, key));
}

QList *qdict_get_qlist(const QDict *dict, const char *key)
{
    return qobject_to(QList, qdict_get(dict, key));
}

/* ---- iterating, copying ---- */

const QDictEntry *qdict_first(const QDict *dict)
{
    return dict->first;
}

const QDictEntry *qdict_next(const QDict *dict, const QDictEntry *entry)
{
    return entry->next;
}

const char *qdict_entry_key(const QDictEntry *entry)
{
    return entry->key;
}

QObject *qdict_entry_value(const QDictEntry *entry)
{
    return entry->value;
}

QDict *qdict_clone_shallow(const QDict *src)
{
    QDict *dict = qdict_new();

    for (QDictEntry *e = src->first; e; e = e->next) {
        qdict_put_obj(dict, e->key, qobject_ref(e->value));
    }
    return dict;
}
