/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Integer operations of the channels.  Results of 32-bit operations are in the low half; the
 * interpreter decides what becomes of the upper one.
 */
#include "qemu/osdep.h"

#include "cpu.h"

#define OP(name) static uint64_t name(E2kCpu *cpu, uint64_t a, uint64_t b, uint64_t c)

/* ---- logic, addition ------------------------------------------------------------------------ */

OP(alu_and)
{
    return a & b;
}

OP(alu_andn)
{
    return a & ~b;
}

OP(alu_or)
{
    return a | b;
}

OP(alu_orn)
{
    return a | ~b;
}

OP(alu_xor)
{
    return a ^ b;
}

OP(alu_xorn)
{
    return a ^ ~b;
}

OP(alu_add)
{
    return a + b;
}

OP(alu_sub)
{
    return a - b;
}

OP(alu_rsub)
{
    return b - a;
}

/* ---- shifts ---------------------------------------------------------------------------------- */

OP(alu_shls)
{
    return (uint32_t)a << (b & 31);
}

OP(alu_shld)
{
    return a << (b & 63);
}

OP(alu_shrs)
{
    return (uint32_t)a >> (b & 31);
}

OP(alu_shrd)
{
    return a >> (b & 63);
}

OP(alu_sars)
{
    return (uint32_t)((int32_t)a >> (b & 31));
}

OP(alu_sard)
{
    return (int64_t)a >> (b & 63);
}

static uint32_t rotate_right32(uint32_t value, unsigned count)
{
    return value >> (count & 31) | value << (-count & 31);
}

static uint64_t rotate_right64(uint64_t value, unsigned count)
{
    return value >> (count & 63) | value << (-count & 63);
}

OP(alu_scls)
{
    return rotate_right32(a, -b);
}

OP(alu_scld)
{
    return rotate_right64(a, -b);
}

OP(alu_scrs)
{
    return rotate_right32(a, b);
}

OP(alu_scrd)
{
    return rotate_right64(a, b);
}

/* ---- bit fields ------------------------------------------------------------------------------ */

static uint64_t low_mask(unsigned bits)
{
    return bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

/* Fields of the control word: offset 5:0, length 11:6, sign 12, byte that has the sign 15:13. */
OP(alu_getfd)
{
    unsigned offset = b & 63;
    unsigned length = b >> 6 & 63;
    uint64_t value = rotate_right64(a, offset) & low_mask(length);
    unsigned sign_bit = (b >> 13 & 7) * 8 + ((offset + length - 1) & 7);

    if ((b >> 12 & 1) && (a >> sign_bit & 1)) {
        value |= ~low_mask(length);
    }
    return value;
}

OP(alu_getfs)
{
    unsigned offset = b & 31;
    unsigned length = b >> 6 & 31;
    uint32_t value = rotate_right32(a, offset) & low_mask(length);
    unsigned sign_bit = (b >> 13 & 3) * 8 + ((offset + length - 1) & 7);

    if ((b >> 12 & 1) && (a >> sign_bit & 1)) {
        value |= ~low_mask(length);
    }
    return value;
}

OP(alu_insfd)
{
    uint64_t mask = low_mask(b >> 6 & 63);

    return (rotate_right64(a, b & 63) & ~mask) | (c & mask);
}

OP(alu_insfs)
{
    uint32_t mask = low_mask(b >> 6 & 31);

    return (rotate_right32(a, b & 31) & ~mask) | ((uint32_t)c & mask);
}

OP(alu_sxt)
{
    unsigned shift = a & 2 ? 32 : a & 1 ? 48 : 56;

    if (a & 4) {
        return b << shift >> shift;
    }
    return (int64_t)(b << shift) >> shift;
}

OP(alu_mov)
{
    return b;
}

/* Tags are not kept: putting one copies the value, getting one gives "a number". */
OP(alu_puttag)
{
    return a;
}

OP(alu_gettag)
{
    return 0;
}

/* ---- comparisons ----------------------------------------------------------------------------- */

static bool has_even_parity(uint64_t value)
{
    return !__builtin_parity(value & 0xff);
}

OP(cmp_os)
{
    int32_t unused;

    return __builtin_sub_overflow((int32_t)a, (int32_t)b, &unused);
}

OP(cmp_bs)
{
    return (uint32_t)a < (uint32_t)b;
}

OP(cmp_es)
{
    return (uint32_t)a == (uint32_t)b;
}

OP(cmp_bes)
{
    return (uint32_t)a <= (uint32_t)b;
}

OP(cmp_ss)
{
    return (uint32_t)(a - b) >> 31;
}

OP(cmp_ps)
{
    return has_even_parity(a - b);
}

OP(cmp_ls)
{
    return (int32_t)a < (int32_t)b;
}

OP(cmp_les)
{
    return (int32_t)a <= (int32_t)b;
}

OP(cmp_od)
{
    int64_t unused;

    return __builtin_sub_overflow((int64_t)a, (int64_t)b, &unused);
}

OP(cmp_bd)
{
    return a < b;
}

OP(cmp_ed)
{
    return a == b;
}

OP(cmp_bed)
{
    return a <= b;
}

OP(cmp_sd)
{
    return (a - b) >> 63;
}

OP(cmp_ld)
{
    return (int64_t)a < (int64_t)b;
}

OP(cmp_led)
{
    return (int64_t)a <= (int64_t)b;
}

OP(test_es)
{
    return !(uint32_t)(a & b);
}

OP(test_ss)
{
    return (uint32_t)(a & b) >> 31;
}

OP(test_p)
{
    return has_even_parity(a & b);
}

OP(test_les)
{
    return (int32_t)(a & b) <= 0;
}

OP(test_ed)
{
    return !(a & b);
}

OP(test_sd)
{
    return (a & b) >> 63;
}

OP(test_led)
{
    return (int64_t)(a & b) <= 0;
}

/* ---- multiplication, division ---------------------------------------------------------------- */

OP(alu_mul)
{
    return a * b;
}

OP(alu_umulx)
{
    return (uint64_t)(uint32_t)a * (uint32_t)b;
}

OP(alu_smulx)
{
    return (int64_t)(int32_t)a * (int32_t)b;
}

OP(alu_umulhd)
{
    return (unsigned __int128)a * b >> 64;
}

OP(alu_smulhd)
{
    return (__int128)(int64_t)a * (int64_t)b >> 64;
}

static uint64_t division_error(E2kCpu *cpu)
{
    e2k_raise(cpu, E2K_EXC_DIV);
    return 0;
}

OP(alu_udivs)
{
    return (uint32_t)b ? (uint32_t)a / (uint32_t)b : division_error(cpu);
}

OP(alu_udivd)
{
    return b ? a / b : division_error(cpu);
}

OP(alu_sdivs)
{
    if (!(uint32_t)b) {
        return division_error(cpu);
    }
    /* The one quotient that does not fit: -2^31 / -1. */
    return (uint32_t)((int64_t)(int32_t)a / (int32_t)b);
}

OP(alu_sdivd)
{
    if (!b) {
        return division_error(cpu);
    }
    return (int64_t)b == -1 ? -a : (uint64_t)((int64_t)a / (int64_t)b);
}

OP(alu_udivx)
{
    uint32_t divisor = b;

    if (!divisor || a / divisor > UINT32_MAX) {
        return division_error(cpu);
    }
    return a / divisor;
}

/* A quotient that does not fit does not matter to the remainder. */
OP(alu_umodx)
{
    return (uint32_t)b ? a % (uint32_t)b : division_error(cpu);
}

/* 64 bits by 32 bits, both signed. */
OP(alu_sdivx)
{
    int64_t divisor = (int32_t)b;

    if (!divisor || (divisor == -1 && (int64_t)a == INT64_MIN)) {
        return division_error(cpu);
    }
    int64_t quotient = (int64_t)a / divisor;
    return quotient == (int32_t)quotient ? (uint32_t)quotient : division_error(cpu);
}

OP(alu_smodx)
{
    int64_t divisor = (int32_t)b;

    if (!divisor) {
        return division_error(cpu);
    }
    return divisor == -1 ? 0 : (uint32_t)((int64_t)a % divisor);
}

/* ---- counting bits --------------------------------------------------------------------------- */

static uint64_t reverse_bits(uint64_t value)
{
    value = (value >> 1 & 0x5555555555555555) | (value & 0x5555555555555555) << 1;
    value = (value >> 2 & 0x3333333333333333) | (value & 0x3333333333333333) << 2;
    value = (value >> 4 & 0x0f0f0f0f0f0f0f0f) | (value & 0x0f0f0f0f0f0f0f0f) << 4;
    return __builtin_bswap64(value);
}

OP(alu_bitrevs)
{
    return reverse_bits(b) >> 32;
}

OP(alu_bitrevd)
{
    return reverse_bits(b);
}

OP(alu_lzcnts)
{
    return (uint32_t)b ? __builtin_clz(b) : 32;
}

OP(alu_lzcntd)
{
    return b ? __builtin_clzll(b) : 64;
}

OP(alu_popcnts)
{
    return __builtin_popcount(b);
}

OP(alu_popcntd)
{
    return __builtin_popcountll(b);
}

const E2kAluEntry e2k_alu_int[] = {
    { "ands", alu_and },         { "andd", alu_and },         { "andns", alu_andn },
    { "andnd", alu_andn },       { "ors", alu_or },           { "ord", alu_or },
    { "orns", alu_orn },         { "ornd", alu_orn },         { "xors", alu_xor },
    { "xord", alu_xor },         { "xorns", alu_xorn },       { "xornd", alu_xorn },
    { "adds", alu_add },         { "addd", alu_add },         { "subs", alu_sub },
    { "subd", alu_sub },         { "rsubs", alu_rsub },       { "rsubd", alu_rsub },
    { "shls", alu_shls },        { "shld", alu_shld },        { "shrs", alu_shrs },
    { "shrd", alu_shrd },        { "sars", alu_sars },        { "sard", alu_sard },
    { "scls", alu_scls },        { "scld", alu_scld },        { "scrs", alu_scrs },
    { "scrd", alu_scrd },        { "getfs", alu_getfs },      { "getfd", alu_getfd },
    { "insfs", alu_insfs },      { "insfd", alu_insfd },      { "sxt", alu_sxt },
    { "movts", alu_mov },        { "movtd", alu_mov },        { "puttags", alu_puttag },
    { "puttagd", alu_puttag },   { "gettags", alu_gettag },   { "gettagd", alu_gettag },
    { "cmposb", cmp_os },        { "cmpbsb", cmp_bs },        { "cmpesb", cmp_es },
    { "cmpbesb", cmp_bes },      { "cmpssb", cmp_ss },        { "cmppsb", cmp_ps },
    { "cmplsb", cmp_ls },        { "cmplesb", cmp_les },      { "cmpodb", cmp_od },
    { "cmpbdb", cmp_bd },        { "cmpedb", cmp_ed },        { "cmpbedb", cmp_bed },
    { "cmpsdb", cmp_sd },        { "cmppdb", cmp_ps },        { "cmpldb", cmp_ld },
    { "cmpledb", cmp_led },      { "cmpandesb", test_es },    { "cmpandssb", test_ss },
    { "cmpandpsb", test_p },     { "cmpandlesb", test_les },  { "cmpandedb", test_ed },
    { "cmpandsdb", test_sd },    { "cmpandpdb", test_p },     { "cmpandledb", test_led },
    { "muls", alu_mul },         { "muld", alu_mul },         { "umulx", alu_umulx },
    { "smulx", alu_smulx },      { "umulhd", alu_umulhd },    { "smulhd", alu_smulhd },
    { "udivs", alu_udivs },      { "udivd", alu_udivd },      { "sdivs", alu_sdivs },
    { "sdivd", alu_sdivd },      { "udivx", alu_udivx },      { "sdivx", alu_sdivx },
    { "umodx", alu_umodx },      { "smodx", alu_smodx },      { "bitrevs", alu_bitrevs },
    { "bitrevd", alu_bitrevd },  { "lzcnts", alu_lzcnts },    { "lzcntd", alu_lzcntd },
    { "popcnts", alu_popcnts },  { "popcntd", alu_popcntd },  { NULL, NULL },
};
