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

/* ---- arithmetic and comparison ------------------------------------------------------------ */

OP(paddb)
{
    return map_unsigned(a, b, 8, lane_add);
}

OP(paddh)
{
    return map_unsigned(a, b, 16, lane_add);
}

OP(paddw)
{
    return map_unsigned(a, b, 32, lane_add);
}

OP(paddd)
{
    return a + b;
}

OP(psubb)
{
    return map_unsigned(a, b, 8, lane_sub);
}

OP(psubh)
{
    return map_unsigned(a, b, 16, lane_sub);
}

OP(psubw)
{
    return map_unsigned(a, b, 32, lane_sub);
}

OP(psubd)
{
    return a - b;
}

OP(paddsb)
{
    return map_signed(a, b, 8, lane_add_s8);
}

OP(paddsh)
{
    return map_signed(a, b, 16, lane_add_s16);
}

OP(paddusb)
{
    return map_unsigned(a, b, 8, lane_add_u8);
}

OP(paddush)
{
    return map_unsigned(a, b, 16, lane_add_u16);
}

OP(psubsb)
{
    return map_signed(a, b, 8, lane_sub_s8);
}

OP(psubsh)
{
    return map_signed(a, b, 16, lane_sub_s16);
}

OP(psubusb)
{
    return map_unsigned(a, b, 8, lane_sub_u);
}

OP(psubush)
{
    return map_unsigned(a, b, 16, lane_sub_u);
}

OP(pminsb)
{
    return map_signed(a, b, 8, lane_min);
}

OP(pminsh)
{
    return map_signed(a, b, 16, lane_min);
}

OP(pminsw)
{
    return map_signed(a, b, 32, lane_min);
}

OP(pminub)
{
    return map_unsigned(a, b, 8, lane_min);
}

OP(pminuh)
{
    return map_unsigned(a, b, 16, lane_min);
}

OP(pminuw)
{
    return map_unsigned(a, b, 32, lane_min);
}

OP(pmaxsb)
{
    return map_signed(a, b, 8, lane_max);
}

OP(pmaxsh)
{
    return map_signed(a, b, 16, lane_max);
}

OP(pmaxsw)
{
    return map_signed(a, b, 32, lane_max);
}

OP(pmaxub)
{
    return map_unsigned(a, b, 8, lane_max);
}

OP(pmaxuh)
{
    return map_unsigned(a, b, 16, lane_max);
}

OP(pmaxuw)
{
    return map_unsigned(a, b, 32, lane_max);
}

OP(pcmpeqb)
{
    return map_signed(a, b, 8, lane_eq);
}

OP(pcmpeqh)
{
    return map_signed(a, b, 16, lane_eq);
}

OP(pcmpeqw)
{
    return map_signed(a, b, 32, lane_eq);
}

OP(pcmpeqd)
{
    return map_signed(a, b, 64, lane_eq);
}

OP(pcmpgtb)
{
    return map_signed(a, b, 8, lane_gt);
}

OP(pcmpgth)
{
    return map_signed(a, b, 16, lane_gt);
}

OP(pcmpgtw)
{
    return map_signed(a, b, 32, lane_gt);
}

OP(pcmpgtd)
{
    return map_signed(a, b, 64, lane_gt);
}

OP(pavgusb)
{
    return map_unsigned(a, b, 8, lane_average);
}

OP(pavgush)
{
    return map_unsigned(a, b, 16, lane_average);
}

OP(psignb)
{
    return map_signed(a, b, 8, lane_sign);
}

OP(psignh)
{
    return map_signed(a, b, 16, lane_sign);
}

OP(psignw)
{
    return map_signed(a, b, 32, lane_sign);
}

/* Comparisons to a predicate (v6): true for any lane, or for all. */
OP(pcmpeqbop)
{
    return pcmpeqb(cpu, a, b, 0) != 0;
}

OP(pcmpeqhop)
{
    return pcmpeqh(cpu, a, b, 0) != 0;
}

OP(pcmpeqwop)
{
    return pcmpeqw(cpu, a, b, 0) != 0;
}

OP(pcmpgtbop)
{
    return pcmpgtb(cpu, a, b, 0) != 0;
}

OP(pcmpgthop)
{
    return pcmpgth(cpu, a, b, 0) != 0;
}

OP(pcmpgtwop)
{
    return pcmpgtw(cpu, a, b, 0) != 0;
}

OP(pcmpeq_all)
{
    return a == b;
}

OP(pcmpgtbap)
{
    return pcmpgtb(cpu, a, b, 0) == UINT64_MAX;
}

OP(pcmpgthap)
{
    return pcmpgth(cpu, a, b, 0) == UINT64_MAX;
}

OP(pcmpgtwap)
{
    return pcmpgtw(cpu, a, b, 0) == UINT64_MAX;
}

OP(pcmpgtd_pred)
{
    return (int64_t)a > (int64_t)b;
}

/* ---- multiplication, sums ----------------------------------------------------------------- */

OP(pmulhh)
{
    return map_signed(a, b, 16, lane_mul_high16);
}

OP(pmulhuh)
{
    return map_unsigned(a, b, 16, lane_mul_high16);
}

OP(pmullh)
{
    return map_unsigned(a, b, 16, lane_mul);
}

OP(pmullw)
{
    return map_unsigned(a, b, 32, lane_mul);
}

OP(pmulhrsh)
{
    return map_signed(a, b, 16, lane_mul_round);
}

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

/* ---- shifts ------------------------------------------------------------------------------------- */

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

/* ---- moving lanes ----------------------------------------------------------------------------------- */

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

/* ---- logic, wide arithmetic ---------------------------------------------------------------------------- */

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

const E2kAluEntry e2k_alu_simd[] = {
    { "paddb", paddb },           { "paddh", paddh },           { "paddw", paddw },
    { "paddd", paddd },           { "psubb", psubb },           { "psubh", psubh },
    { "psubw", psubw },           { "psubd", psubd },           { "paddsb", paddsb },
    { "paddsh", paddsh },         { "paddusb", paddusb },       { "paddush", paddush },
    { "psubsb", psubsb },         { "psubsh", psubsh },         { "psubusb", psubusb },
    { "psubush", psubush },       { "pminsb", pminsb },         { "pminsh", pminsh },
    { "pminsw", pminsw },         { "pminub", pminub },         { "pminuh", pminuh },
    { "pminuw", pminuw },         { "pmaxsb", pmaxsb },         { "pmaxsh", pmaxsh },
    { "pmaxsw", pmaxsw },         { "pmaxub", pmaxub },         { "pmaxuh", pmaxuh },
    { "pmaxuw", pmaxuw },         { "pcmpeqb", pcmpeqb },       { "pcmpeqh", pcmpeqh },
    { "pcmpeqw", pcmpeqw },       { "pcmpeqd", pcmpeqd },       { "pcmpgtb", pcmpgtb },
    { "pcmpgth", pcmpgth },       { "pcmpgtw", pcmpgtw },       { "pcmpgtd", pcmpgtd },
    { "pavgusb", pavgusb },       { "pavgush", pavgush },       { "psignb", psignb },
    { "psignh", psignh },         { "psignw", psignw },         { "pcmpeqbop", pcmpeqbop },
    { "pcmpeqhop", pcmpeqhop },   { "pcmpeqwop", pcmpeqwop },   { "pcmpeqdop", pcmpeq_all },
    { "pcmpgtbop", pcmpgtbop },   { "pcmpgthop", pcmpgthop },   { "pcmpgtwop", pcmpgtwop },
    { "pcmpgtdop", pcmpgtd_pred }, { "pcmpeqbap", pcmpeq_all }, { "pcmpeqhap", pcmpeq_all },
    { "pcmpeqwap", pcmpeq_all },  { "pcmpeqdap", pcmpeq_all },  { "pcmpgtbap", pcmpgtbap },
    { "pcmpgthap", pcmpgthap },   { "pcmpgtwap", pcmpgtwap },   { "pcmpgtdap", pcmpgtd_pred },
    { "pmulhh", pmulhh },         { "pmulhuh", pmulhuh },       { "pmullh", pmullh },
    { "pmullw", pmullw },         { "pmulhrsh", pmulhrsh },     { "pmaddh", pmaddh },
    { "pmaddubsh", pmaddubsh },   { "pmulubhh", pmulubhh },     { "psadbw", psadbw },
    { "mpsadbh", mpsadbh },       { "phaddh", phaddh },         { "phaddw", phaddw },
    { "phaddsh", phaddsh },       { "phsubh", phsubh },         { "phsubw", phsubw },
    { "phsubsh", phsubsh },       { "phminposuh", phminposuh }, { "psllh", psllh },
    { "psllw", psllw },           { "pslld", pslld },           { "psrlh", psrlh },
    { "psrlw", psrlw },           { "psrld", psrld },           { "psrah", psrah },
    { "psraw", psraw },           { "psrcw", psrcw },           { "psrcd", psrcd },
    { "psllqh", psllqh },         { "psllql", psllql },         { "psrlqh", psrlqh },
    { "psrlql", psrlql },         { "packsshb", packsshb },     { "packushb", packushb },
    { "packsswh", packsswh },     { "packuswh", packuswh },     { "punpckhbh", punpckhbh },
    { "punpckhhw", punpckhhw },   { "punpckhwd", punpckhwd },   { "punpcklbh", punpcklbh },
    { "punpcklhw", punpcklhw },   { "punpcklwd", punpcklwd },   { "pshufh", pshufh },
    { "pshufw", pshufw },         { "pextrh", pextrh },         { "pinsh", pinsh },
    { "pmerge", pmerge },         { "pmovmskb", pmovmskb },     { "pmovmskps", pmovmskps },
    { "pmovmskpd", pmovmskpd },   { "pandd", pand },            { "pandnd", pandn },
    { "pord", por },              { "pxord", pxor },            { "addcd", addcd },
    { "subcd", subcd },           { "clmull", clmull },         { "clmulh", clmulh },
    { NULL, NULL },
};
