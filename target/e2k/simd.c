/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packed integer operations on 64-bit registers.
 *
 * Registers are lanes of 8 (b), 16 (h), 32 (w) or 64 (d) bits.  Where an operation joins two
 * registers, the first source is the upper half, except in the horizontal ones.
 */
#include "qemu/osdep.h"

#include "cpu.h"

#define OP(name) static uint64_t name(E2kCpu *cpu, uint64_t a, uint64_t b, uint64_t c)

typedef int64_t LaneOp(int64_t x, int64_t y);

static inline uint64_t lane(uint64_t value, unsigned bits, unsigned i)
{
    return bits == 64 ? value : value >> (i * bits) & ((UINT64_C(1) << bits) - 1);
}

static inline int64_t sign_extend(uint64_t value, unsigned bits)
{
    return (int64_t)(value << (64 - bits)) >> (64 - bits);
}

static inline int64_t lane_signed(uint64_t value, unsigned bits, unsigned i)
{
    return sign_extend(value >> (i * bits), bits);
}

/* @value as lane @i of a register. */
static inline uint64_t lane_at(uint64_t value, unsigned bits, unsigned i)
{
    return lane(value, bits, 0) << (i * bits);
}

/* Lane by lane, with sign-extended or zero-extended sources. */
static inline uint64_t map_signed(uint64_t a, uint64_t b, unsigned bits, LaneOp *op)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 64 / bits; i++) {
        result |= lane_at(op(lane_signed(a, bits, i), lane_signed(b, bits, i)), bits, i);
    }
    return result;
}

static inline uint64_t map_unsigned(uint64_t a, uint64_t b, unsigned bits, LaneOp *op)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 64 / bits; i++) {
        result |= lane_at(op(lane(a, bits, i), lane(b, bits, i)), bits, i);
    }
    return result;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* ---- what happens in a lane --------------------------------------------------------------- */

static int64_t lane_add(int64_t x, int64_t y)
{
    return (uint64_t)x + y;
}

static int64_t lane_sub(int64_t x, int64_t y)
{
    return (uint64_t)x - y;
}

static int64_t lane_min(int64_t x, int64_t y)
{
    return MIN(x, y);
}

static int64_t lane_max(int64_t x, int64_t y)
{
    return MAX(x, y);
}

static int64_t lane_eq(int64_t x, int64_t y)
{
    return -(x == y);
}

static int64_t lane_gt(int64_t x, int64_t y)
{
    return -(x > y);
}

static int64_t lane_average(int64_t x, int64_t y)
{
    return (x + y + 1) >> 1;
}

static int64_t lane_mul(int64_t x, int64_t y)
{
    return (uint64_t)x * y;
}

static int64_t lane_mul_high16(int64_t x, int64_t y)
{
    return x * y >> 16;
}

static int64_t lane_mul_round(int64_t x, int64_t y)
{
    return (x * y + 0x4000) >> 15;
}

static int64_t lane_sign(int64_t x, int64_t y)
{
    return y > 0 ? x : y < 0 ? -x : 0;
}

static int64_t lane_add_s8(int64_t x, int64_t y)
{
    return clamp(x + y, INT8_MIN, INT8_MAX);
}

static int64_t lane_add_s16(int64_t x, int64_t y)
{
    return clamp(x + y, INT16_MIN, INT16_MAX);
}

static int64_t lane_add_u8(int64_t x, int64_t y)
{
    return clamp(x + y, 0, UINT8_MAX);
}

static int64_t lane_add_u16(int64_t x, int64_t y)
{
    return clamp(x + y, 0, UINT16_MAX);
}

static int64_t lane_sub_s8(int64_t x, int64_t y)
{
    return clamp(x - y, INT8_MIN, INT8_MAX);
}

static int64_t lane_sub_s16(int64_t x, int64_t y)
{
    return clamp(x - y, INT16_MIN, INT16_MAX);
}

static int64_t lane_sub_u(int64_t x, int64_t y)
{
    return MAX(x - y, 0);
}

/* ---- lane by lane: the table at the end passes what to compute as @c --------------------- */

typedef enum LaneOpNumber {
    LANE_ADD,
    LANE_SUB,
    LANE_MIN,
    LANE_MAX,
    LANE_EQ,
    LANE_GT,
    LANE_AVERAGE,
    LANE_MUL,
    LANE_MUL_HIGH16,
    LANE_MUL_ROUND,
    LANE_SIGN,
    LANE_ADD_S8,
    LANE_ADD_S16,
    LANE_ADD_U8,
    LANE_ADD_U16,
    LANE_SUB_S8,
    LANE_SUB_S16,
    LANE_SUB_U,
} LaneOpNumber;

static LaneOp *const lane_ops[] = {
    [LANE_ADD] = lane_add,
    [LANE_SUB] = lane_sub,
    [LANE_MIN] = lane_min,
    [LANE_MAX] = lane_max,
    [LANE_EQ] = lane_eq,
    [LANE_GT] = lane_gt,
    [LANE_AVERAGE] = lane_average,
    [LANE_MUL] = lane_mul,
    [LANE_MUL_HIGH16] = lane_mul_high16,
    [LANE_MUL_ROUND] = lane_mul_round,
    [LANE_SIGN] = lane_sign,
    [LANE_ADD_S8] = lane_add_s8,
    [LANE_ADD_S16] = lane_add_s16,
    [LANE_ADD_U8] = lane_add_u8,
    [LANE_ADD_U16] = lane_add_u16,
    [LANE_SUB_S8] = lane_sub_s8,
    [LANE_SUB_S16] = lane_sub_s16,
    [LANE_SUB_U] = lane_sub_u,
};

OP(map_s8)
{
    return map_signed(a, b, 8, lane_ops[c]);
}

OP(map_s16)
{
    return map_signed(a, b, 16, lane_ops[c]);
}

OP(map_s32)
{
    return map_signed(a, b, 32, lane_ops[c]);
}

OP(map_s64)
{
    return map_signed(a, b, 64, lane_ops[c]);
}

OP(map_u8)
{
    return map_unsigned(a, b, 8, lane_ops[c]);
}

OP(map_u16)
{
    return map_unsigned(a, b, 16, lane_ops[c]);
}

OP(map_u32)
{
    return map_unsigned(a, b, 32, lane_ops[c]);
}

/* Comparisons to a predicate (v6): true in any lane, or in all. */
OP(any_s8)
{
    return map_s8(cpu, a, b, c) != 0;
}

OP(any_s16)
{
    return map_s16(cpu, a, b, c) != 0;
}

OP(any_s32)
{
    return map_s32(cpu, a, b, c) != 0;
}

OP(any_s64)
{
    return map_s64(cpu, a, b, c) != 0;
}

OP(all_s8)
{
    return map_s8(cpu, a, b, c) == UINT64_MAX;
}

OP(all_s16)
{
    return map_s16(cpu, a, b, c) == UINT64_MAX;
}

OP(all_s32)
{
    return map_s32(cpu, a, b, c) == UINT64_MAX;
}

OP(all_s64)
{
    return map_s64(cpu, a, b, c) == UINT64_MAX;
}

OP(paddd)
{
    return a + b;
}

OP(psubd)
{
    return a - b;
}

/* ---- multiplication, sums ----------------------------------------------------------------- */

OP(pmaddh)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 2; i++) {
        int64_t sum = lane_signed(a, 16, 2 * i) * lane_signed(b, 16, 2 * i)
                    + lane_signed(a, 16, 2 * i + 1) * lane_signed(b, 16, 2 * i + 1);

        result |= lane_at(sum, 32, i);
    }
    return result;
}

/* Signed bytes of @a by unsigned bytes of @b, neighbours added. */
OP(pmaddubsh)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 4; i++) {
        int64_t sum = lane_signed(a, 8, 2 * i) * (int64_t)lane(b, 8, 2 * i)
                    + lane_signed(a, 8, 2 * i + 1) * (int64_t)lane(b, 8, 2 * i + 1);

        result |= lane_at(clamp(sum, INT16_MIN, INT16_MAX), 16, i);
    }
    return result;
}

/* Unsigned low bytes of @a by signed halves of @b, the upper 16 bits of 24, rounded. */
OP(pmulubhh)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 4; i++) {
        int64_t product = (int64_t)lane(a, 8, i) * lane_signed(b, 16, i);

        result |= lane_at((product + 0x80) >> 8, 16, i);
    }
    return result;
}

static int64_t byte_distance(uint64_t a, unsigned i, uint64_t b, unsigned k)
{
    return llabs((long long)lane(a, 8, i) - (long long)lane(b, 8, k));
}

OP(psadbw)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < 8; i++) {
        sum += byte_distance(a, i, b, i);
    }
    return sum;
}

/* Distances of the first four bytes of @b to four places in @a. */
OP(mpsadbh)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 4; i++) {
        uint64_t sum = 0;

        for (unsigned k = 0; k < 4; k++) {
            sum += byte_distance(a, i + k, b, k);
        }
        result |= lane_at(sum, 16, i);
    }
    return result;
}

/* Neighbours of @a in the lower half, of @b in the upper. */
static uint64_t horizontal(uint64_t a, uint64_t b, unsigned bits, LaneOp *op)
{
    unsigned half = 32 / bits;
    uint64_t result = 0;

    for (unsigned i = 0; i < half; i++) {
        result |= lane_at(op(lane_signed(a, bits, 2 * i), lane_signed(a, bits, 2 * i + 1)), bits,
                          i);
        result |= lane_at(op(lane_signed(b, bits, 2 * i), lane_signed(b, bits, 2 * i + 1)), bits,
                          half + i);
    }
    return result;
}

OP(phaddh)
{
    return horizontal(a, b, 16, lane_add);
}

OP(phaddw)
{
    return horizontal(a, b, 32, lane_add);
}

OP(phaddsh)
{
    return horizontal(a, b, 16, lane_add_s16);
}

OP(phsubh)
{
    return horizontal(a, b, 16, lane_sub);
}

OP(phsubw)
{
    return horizontal(a, b, 32, lane_sub);
}

OP(phsubsh)
{
    return horizontal(a, b, 16, lane_sub_s16);
}

/* The least of eight halves, @a being the first four, and where it is. */
OP(phminposuh)
{
    uint64_t least = UINT64_MAX;
    unsigned place = 0;

    for (unsigned i = 0; i < 8; i++) {
        uint64_t value = lane(i < 4 ? a : b, 16, i % 4);

        if (value < least) {
            least = value;
            place = i;
        }
    }
    return least | place << 16;
}

/* ---- shifts ---------------------------------------------------------------------------------- */

static uint64_t shift_left(uint64_t a, uint64_t count, unsigned bits)
{
    uint64_t result = 0;

    for (unsigned i = 0; count < bits && i < 64 / bits; i++) {
        result |= lane_at(lane(a, bits, i) << count, bits, i);
    }
    return result;
}

static uint64_t shift_right(uint64_t a, uint64_t count, unsigned bits)
{
    uint64_t result = 0;

    for (unsigned i = 0; count < bits && i < 64 / bits; i++) {
        result |= lane_at(lane(a, bits, i) >> count, bits, i);
    }
    return result;
}

static uint64_t shift_right_signed(uint64_t a, uint64_t count, unsigned bits)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 64 / bits; i++) {
        result |= lane_at(lane_signed(a, bits, i) >> MIN(count, bits - 1), bits, i);
    }
    return result;
}

OP(psllh)
{
    return shift_left(a, b, 16);
}

OP(psllw)
{
    return shift_left(a, b, 32);
}

OP(pslld)
{
    return shift_left(a, b, 64);
}

OP(psrlh)
{
    return shift_right(a, b, 16);
}

OP(psrlw)
{
    return shift_right(a, b, 32);
}

OP(psrld)
{
    return shift_right(a, b, 64);
}

OP(psrah)
{
    return shift_right_signed(a, b, 16);
}

OP(psraw)
{
    return shift_right_signed(a, b, 32);
}

OP(psrcw)
{
    unsigned right = b & 31;
    unsigned left = -right & 31;
    uint64_t low = lane(a, 32, 0);
    uint64_t high = a >> 32;

    return lane_at(low >> right | low << left, 32, 0)
         | lane_at(high >> right | high << left, 32, 1);
}

OP(psrcd)
{
    return a >> (b & 63) | a << (-b & 63);
}

/* The 128 bits a:b shifted by @bytes; upper or lower half of the result. */
static uint64_t shift_bytes(uint64_t a, uint64_t b, int bytes, bool is_upper)
{
    unsigned __int128 value = (unsigned __int128)a << 64 | b;

    if (bytes <= -16 || bytes >= 16) {
        return 0;
    }
    value = bytes < 0 ? value << (-bytes * 8) : value >> (bytes * 8);
    return is_upper ? value >> 64 : value;
}

OP(psllqh)
{
    return shift_bytes(a, b, -(int)c, true);
}

OP(psllql)
{
    return shift_bytes(a, b, -(int)c, false);
}

OP(psrlqh)
{
    return shift_bytes(a, b, c, true);
}

OP(psrlql)
{
    return shift_bytes(a, b, c, false);
}

/* ---- moving lanes ---------------------------------------------------------------------------- */

/* Lanes of @bits + @bits in @value become half as wide, clamped to [@low, @high]. */
static uint64_t narrow(uint64_t value, unsigned bits, int64_t low, int64_t high)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 32 / bits; i++) {
        result |= lane_at(clamp(lane_signed(value, bits * 2, i), low, high), bits, i);
    }
    return result;
}

OP(packsshb)
{
    return narrow(a, 8, INT8_MIN, INT8_MAX) << 32 | narrow(b, 8, INT8_MIN, INT8_MAX);
}

OP(packushb)
{
    return narrow(a, 8, 0, UINT8_MAX) << 32 | narrow(b, 8, 0, UINT8_MAX);
}

OP(packsswh)
{
    return narrow(a, 16, INT16_MIN, INT16_MAX) << 32 | narrow(b, 16, INT16_MIN, INT16_MAX);
}

OP(packuswh)
{
    return narrow(a, 16, 0, UINT16_MAX) << 32 | narrow(b, 16, 0, UINT16_MAX);
}

/* The lanes from @first on, alternating, those of @a above those of @b. */
static uint64_t interleave(uint64_t a, uint64_t b, unsigned bits, unsigned first)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 32 / bits; i++) {
        result |= lane_at(lane(b, bits, first + i), bits, 2 * i);
        result |= lane_at(lane(a, bits, first + i), bits, 2 * i + 1);
    }
    return result;
}

OP(punpckhbh)
{
    return interleave(a, b, 8, 4);
}

OP(punpckhhw)
{
    return interleave(a, b, 16, 2);
}

OP(punpckhwd)
{
    return interleave(a, b, 32, 1);
}

OP(punpcklbh)
{
    return interleave(a, b, 8, 0);
}

OP(punpcklhw)
{
    return interleave(a, b, 16, 0);
}

OP(punpcklwd)
{
    return interleave(a, b, 32, 0);
}

OP(pshufh)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 4; i++) {
        result |= lane_at(lane(b, 16, c >> (2 * i) & 3), 16, i);
    }
    return result;
}

OP(pshufw)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 2; i++) {
        unsigned from = c >> (2 * i) & 3;

        result |= lane_at(lane(from & 2 ? a : b, 32, from & 1), 32, i);
    }
    return result;
}

OP(pextrh)
{
    return lane(b, 16, c & 3);
}

OP(pinsh)
{
    unsigned i = c & 3;

    return (a & ~lane_at(UINT64_MAX, 16, i)) | lane_at(b, 16, i);
}

/* Bytes of @b where @c is negative, of @a elsewhere. */
OP(pmerge)
{
    uint64_t mask = shift_right_signed(c, 7, 8);

    return (b & mask) | (a & ~mask);
}

static uint64_t signs(uint64_t value, unsigned bits)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < 64 / bits; i++) {
        result |= (value >> (i * bits + bits - 1) & 1) << i;
    }
    return result;
}

OP(pmovmskb)
{
    return signs(a, 8) << 8 | signs(b, 8);
}

OP(pmovmskps)
{
    return signs(a, 32) << 2 | signs(b, 32);
}

OP(pmovmskpd)
{
    return signs(a, 64) << 1 | signs(b, 64);
}

/* ---- logic, wide arithmetic ------------------------------------------------------------------ */

OP(pand)
{
    return a & b;
}

OP(pandn)
{
    return a & ~b;
}

OP(por)
{
    return a | b;
}

OP(pxor)
{
    return a ^ b;
}

OP(addcd)
{
    return a + b + (c & 1);
}

OP(subcd)
{
    return a - b - (c & 1);
}

static unsigned __int128 carryless_product(uint64_t a, uint64_t b)
{
    unsigned __int128 result = 0;

    for (unsigned i = 0; i < 64; i++) {
        if (b >> i & 1) {
            result ^= (unsigned __int128)a << i;
        }
    }
    return result;
}

OP(clmull)
{
    return carryless_product(a, b);
}

OP(clmulh)
{
    return carryless_product(a, b) >> 64;
}

const E2kAluArgEntry e2k_alu_simd[] = {
    { "paddb", map_u8, LANE_ADD },                { "paddh", map_u16, LANE_ADD },
    { "paddw", map_u32, LANE_ADD },               { "paddd", paddd, 0 },
    { "psubb", map_u8, LANE_SUB },                { "psubh", map_u16, LANE_SUB },
    { "psubw", map_u32, LANE_SUB },               { "psubd", psubd, 0 },
    { "paddsb", map_s8, LANE_ADD_S8 },            { "paddsh", map_s16, LANE_ADD_S16 },
    { "paddusb", map_u8, LANE_ADD_U8 },           { "paddush", map_u16, LANE_ADD_U16 },
    { "psubsb", map_s8, LANE_SUB_S8 },            { "psubsh", map_s16, LANE_SUB_S16 },
    { "psubusb", map_u8, LANE_SUB_U },            { "psubush", map_u16, LANE_SUB_U },
    { "pminsb", map_s8, LANE_MIN },               { "pminsh", map_s16, LANE_MIN },
    { "pminsw", map_s32, LANE_MIN },              { "pminub", map_u8, LANE_MIN },
    { "pminuh", map_u16, LANE_MIN },              { "pminuw", map_u32, LANE_MIN },
    { "pmaxsb", map_s8, LANE_MAX },               { "pmaxsh", map_s16, LANE_MAX },
    { "pmaxsw", map_s32, LANE_MAX },              { "pmaxub", map_u8, LANE_MAX },
    { "pmaxuh", map_u16, LANE_MAX },              { "pmaxuw", map_u32, LANE_MAX },
    { "pcmpeqb", map_s8, LANE_EQ },               { "pcmpeqh", map_s16, LANE_EQ },
    { "pcmpeqw", map_s32, LANE_EQ },              { "pcmpeqd", map_s64, LANE_EQ },
    { "pcmpgtb", map_s8, LANE_GT },               { "pcmpgth", map_s16, LANE_GT },
    { "pcmpgtw", map_s32, LANE_GT },              { "pcmpgtd", map_s64, LANE_GT },
    { "pavgusb", map_u8, LANE_AVERAGE },          { "pavgush", map_u16, LANE_AVERAGE },
    { "psignb", map_s8, LANE_SIGN },              { "psignh", map_s16, LANE_SIGN },
    { "psignw", map_s32, LANE_SIGN },             { "pcmpeqbop", any_s8, LANE_EQ },
    { "pcmpeqhop", any_s16, LANE_EQ },            { "pcmpeqwop", any_s32, LANE_EQ },
    { "pcmpeqdop", any_s64, LANE_EQ },            { "pcmpgtbop", any_s8, LANE_GT },
    { "pcmpgthop", any_s16, LANE_GT },            { "pcmpgtwop", any_s32, LANE_GT },
    { "pcmpgtdop", any_s64, LANE_GT },            { "pcmpeqbap", all_s8, LANE_EQ },
    { "pcmpeqhap", all_s16, LANE_EQ },            { "pcmpeqwap", all_s32, LANE_EQ },
    { "pcmpeqdap", all_s64, LANE_EQ },            { "pcmpgtbap", all_s8, LANE_GT },
    { "pcmpgthap", all_s16, LANE_GT },            { "pcmpgtwap", all_s32, LANE_GT },
    { "pcmpgtdap", all_s64, LANE_GT },            { "pmulhh", map_s16, LANE_MUL_HIGH16 },
    { "pmulhuh", map_u16, LANE_MUL_HIGH16 },      { "pmullh", map_u16, LANE_MUL },
    { "pmullw", map_u32, LANE_MUL },              { "pmulhrsh", map_s16, LANE_MUL_ROUND },
    { "pmaddh", pmaddh, 0 },                      { "pmaddubsh", pmaddubsh, 0 },
    { "pmulubhh", pmulubhh, 0 },                  { "psadbw", psadbw, 0 },
    { "mpsadbh", mpsadbh, 0 },                    { "phaddh", phaddh, 0 },
    { "phaddw", phaddw, 0 },                      { "phaddsh", phaddsh, 0 },
    { "phsubh", phsubh, 0 },                      { "phsubw", phsubw, 0 },
    { "phsubsh", phsubsh, 0 },                    { "phminposuh", phminposuh, 0 },
    { "psllh", psllh, 0 },                        { "psllw", psllw, 0 },
    { "pslld", pslld, 0 },                        { "psrlh", psrlh, 0 },
    { "psrlw", psrlw, 0 },                        { "psrld", psrld, 0 },
    { "psrah", psrah, 0 },                        { "psraw", psraw, 0 },
    { "psrcw", psrcw, 0 },                        { "psrcd", psrcd, 0 },
    { "psllqh", psllqh, 0 },                      { "psllql", psllql, 0 },
    { "psrlqh", psrlqh, 0 },                      { "psrlql", psrlql, 0 },
    { "packsshb", packsshb, 0 },                  { "packushb", packushb, 0 },
    { "packsswh", packsswh, 0 },                  { "packuswh", packuswh, 0 },
    { "punpckhbh", punpckhbh, 0 },                { "punpckhhw", punpckhhw, 0 },
    { "punpckhwd", punpckhwd, 0 },                { "punpcklbh", punpcklbh, 0 },
    { "punpcklhw", punpcklhw, 0 },                { "punpcklwd", punpcklwd, 0 },
    { "pshufh", pshufh, 0 },                      { "pshufw", pshufw, 0 },
    { "pextrh", pextrh, 0 },                      { "pinsh", pinsh, 0 },
    { "pmerge", pmerge, 0 },                      { "pmovmskb", pmovmskb, 0 },
    { "pmovmskps", pmovmskps, 0 },                { "pmovmskpd", pmovmskpd, 0 },
    { "pandd", pand, 0 },                         { "pandnd", pandn, 0 },
    { "pord", por, 0 },                           { "pxord", pxor, 0 },
    { "addcd", addcd, 0 },                        { "subcd", subcd, 0 },
    { "clmull", clmull, 0 },                      { "clmulh", clmulh, 0 },
    { NULL, NULL, 0 },
};
