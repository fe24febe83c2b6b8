/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bundle layout.  In increasing address: HS, SS, ALS0..5, CS0, a word with ALES5 (low) and ALES2
 * (high), CS1; then the half-word area with the other ALES and the AAS; from the end downward
 * CDS0.., PLS0.., and what remains between are the literals LTS0.. (downward as well).
 */
#include "qemu/osdep.h"

#include "decode.h"

#define MAX_WORDS (E2K_MAX_BUNDLE / 4)
/* What ALES2 or ALES5 holds when it is in use but its word is absent. */
#define ALES_DEFAULT 0x01c0

static uint32_t word_at(const uint8_t *code, unsigned index)
{
    const uint8_t *p = code + index * 4;

    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Words HS..CS1.  Returns how many there are, 0 if the count in HS cannot be right. */
static unsigned unpack_front(E2kParts *parts, const uint32_t *words)
{
    uint32_t hs = parts->hs;
    unsigned end = (hs & 15) + 1;
    unsigned n = 1;

    if (e2k_hs_has_ss(hs)) {
        parts->ss = words[n++];
    }
    for (unsigned i = 0; i < E2K_N_CHANNELS; i++) {
        if (e2k_hs_has_als(hs, i)) {
            parts->als[i] = words[n++];
        }
    }
    if (e2k_hs_has_cs0(hs)) {
        parts->cs0 = words[n++];
    }

    bool has_ales25 = end == n + 1 + e2k_hs_has_cs1(hs);
    if (!has_ales25 && end != n + e2k_hs_has_cs1(hs)) {
        return 0;
    }
    uint32_t ales25 = has_ales25 ? words[n++] : ALES_DEFAULT << 16 | ALES_DEFAULT;
    parts->ales[2] = e2k_hs_has_ales(hs, 2) ? ales25 >> 16 : 0;
    parts->ales[5] = e2k_hs_has_ales(hs, 5) ? ales25 & 0xffff : 0;
    if (e2k_hs_has_cs1(hs)) {
        parts->cs1 = words[n++];
    }
    return n;
}

/* Which AAS half-words exist: 0 and 1 hold destinations of two array channels each. */
static unsigned aas_mask(const E2kParts *parts)
{
    unsigned moves = e2k_ss_is_sf1(parts->ss) ? parts->ss >> 12 & 15 : 0;

    return moves << 2 | !!(moves & 3) | (unsigned)!!(moves & 12) << 1;
}

/* The half-word area from word @start on.  Returns the first word after it. */
static unsigned unpack_halves(E2kParts *parts, const uint32_t *words, unsigned start)
{
    static const uint8_t ales_channels[] = { 0, 1, 3, 4 };
    unsigned aas = aas_mask(parts);
    uint16_t *halves[4 + E2K_N_CHANNELS];
    unsigned n = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(ales_channels); i++) {
        if (e2k_hs_has_ales(parts->hs, ales_channels[i])) {
            halves[n++] = &parts->ales[ales_channels[i]];
        }
    }
    for (unsigned i = 0; i < E2K_N_CHANNELS; i++) {
        if (aas >> i & 1) {
            halves[n++] = &parts->aas[i];
        }
    }
    for (unsigned k = 0; k < n; k++) {
        unsigned index = start + k / 2;

        if (index >= MAX_WORDS) {
            return MAX_WORDS + 1;
        }
        *halves[k] = k % 2 ? words[index] & 0xffff : words[index] >> 16;
    }
    return start + (n + 1) / 2;
}

bool e2k_unpack(E2kParts *parts, const uint8_t *code, unsigned avail)
{
    uint32_t words[MAX_WORDS + 1] = { 0 };

    memset(parts, 0, sizeof(*parts));
    if (avail < 8) {
        return false;
    }
    parts->hs = word_at(code, 0);
    parts->length = e2k_hs_length(parts->hs);
    if (parts->length > avail) {
        return false;
    }
    unsigned n_words = parts->length / 4;
    for (unsigned i = 0; i < n_words; i++) {
        words[i] = word_at(code, i);
    }

    unsigned low = unpack_front(parts, words);
    if (low == 0 || low > n_words) {
        return false;
    }
    low = unpack_halves(parts, words, low);
    unsigned n_cds = parts->hs >> 16 & 3;
    unsigned n_pls = parts->hs >> 18 & 3;
    if (low + n_cds + n_pls > n_words) {
        return false;
    }
    unsigned high = n_words;
    for (unsigned i = 0; i < n_cds; i++) {
        parts->cds[i] = words[--high];
    }
    for (unsigned i = 0; i < n_pls; i++) {
        parts->pls[i] = words[--high];
    }
    while (high > low && parts->n_lts < G_N_ELEMENTS(parts->lts)) {
        parts->lts[parts->n_lts++] = words[--high];
    }
    return true;
}

static E2kCs0Op cs0_op_without_ctpr(const E2kParts *parts)
{
    bool is_call = e2k_hs_has_cs1(parts->hs) && parts->cs1 >> 28 == E2K_CS1_CALL;
    static const uint8_t by_parameter[] = {
        E2K_CS0_DONE, E2K_CS0_ILLEGAL, E2K_CS0_IRET, E2K_CS0_HRET, E2K_CS0_GLAUNCH,
        E2K_CS0_ILLEGAL, E2K_CS0_ILLEGAL, E2K_CS0_ILLEGAL,
    };
    E2kCs0Op op;

    switch (parts->cs0 >> 28 & 3) {
    case 0:
        op = is_call ? E2K_CS0_CALL_PARAM : E2K_CS0_IBRANCH;
        break;
    case 1:
        return E2K_CS0_PREF;
    case 2:
        return E2K_CS0_PUTTSD;
    default:
        op = is_call ? E2K_CS0_ILLEGAL : (E2kCs0Op)by_parameter[parts->cs0 & 7];
        break;
    }
    if (e2k_ss_ctop(parts->ss) || !e2k_ss_cond(parts->ss)) {
        return E2K_CS0_ILLEGAL;
    }
    return op;
}

E2kCs0Op e2k_cs0_op(const E2kParts *parts)
{
    if (!e2k_hs_has_cs0(parts->hs)) {
        return E2K_CS0_NONE;
    }
    unsigned ctpr = parts->cs0 >> 30;
    if (ctpr == 0) {
        return cs0_op_without_ctpr(parts);
    }
    switch (parts->cs0 >> 28 & 3) {
    case 0:
        return E2K_CS0_DISP;
    case 1:
        return ctpr == 2 ? E2K_CS0_LDISP : E2K_CS0_ILLEGAL;
    case 2:
        return E2K_CS0_SDISP;
    default:
        break;
    }
    if ((parts->cs0 & 7) == 1) {
        return E2K_CS0_GETTSD;
    }
    return ctpr == 3 && (parts->cs0 & 7) == 0 ? E2K_CS0_RETURN : E2K_CS0_ILLEGAL;
}

const E2kOp *e2k_channel_op(const E2kParts *parts, unsigned channel, unsigned isa)
{
    E2kOpKey key = {
        .channel = channel,
        .als = parts->als[channel],
        .page = parts->ales[channel] >> 8,
        .ales = parts->ales[channel] & 0xff,
        .isa = isa,
    };

    /* Page 0 belongs to operations without an ALES. */
    if (e2k_hs_has_ales(parts->hs, channel) && key.page == 0) {
        return NULL;
    }
    return e2k_op_find(&key);
}

int e2k_pair_channel(const E2kParts *parts, const E2kOp *op, unsigned channel, unsigned isa)
{
    unsigned other = channel + 1;

    if (!(op->flags & E2K_OP_PAIR)) {
        return -1;
    }
    while (other < E2K_N_CHANNELS && !(op->channels >> other & 1)) {
        other++;
    }
    if (other == E2K_N_CHANNELS || !e2k_hs_has_als(parts->hs, other)) {
        return -1;
    }
    return e2k_channel_op(parts, other, isa) == op ? (int)other : -1;
}

unsigned e2k_channel_mas(const E2kParts *parts, unsigned channel)
{
    static const int8_t shift[E2K_N_CHANNELS] = { 21, -1, 14, 7, -1, 0 };

    if (!e2k_hs_has_cs1(parts->hs) || parts->cs1 >> 28 != E2K_CS1_MAS || shift[channel] < 0) {
        return 0;
    }
    return parts->cs1 >> shift[channel] & 0x7f;
}

bool e2k_literal(const E2kParts *parts, uint8_t src2, uint64_t *value)
{
    unsigned index = src2 & 3;
    bool is_short = (src2 & 0xf8) == 0xd0;
    bool is_long = (src2 & 0xfc) == 0xdc;

    if (index + is_long >= parts->n_lts || (is_short && index > 1)) {
        return false;
    }
    uint32_t word = parts->lts[index];
    if (is_short) {
        *value = (int64_t)(int16_t)(src2 & 4 ? word >> 16 : word);
    } else if (is_long) {
        *value = word | (uint64_t)parts->lts[index + 1] << 32;
    } else {
        *value = (int64_t)(int32_t)word;
    }
    return true;
}
