/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floating point: scalars, pairs of 32-bit values, conversions, comparisons.
 *
 * The host computes; its rounding mode is set and its exception flags are read around each
 * operation. What hosts disagree about is done here: which NaN a result is, minimum and maximum,
 * conversions out of range. The 80-bit format and fused operations are not offered.
 */
#include "qemu/osdep.h"

#include <fenv.h>
#include <math.h>

#include "cpu.h"

#define OP(name) static uint64_t name(E2kCpu *cpu, uint64_t a, uint64_t b, uint64_t c)

/* PFPFR */
#define FLAG_INVALID 0x01
#define FLAG_DIVIDE 0x04
#define FLAG_OVERFLOW 0x08
#define FLAG_UNDERFLOW 0x10
#define FLAG_INEXACT 0x20
#define FLAGS 0x3f
#define MASKS_SHIFT 7
#define ROUNDING_SHIFT 13
#define FLUSH_TO_ZERO (1u << 15)

#define F32_QUIET UINT32_C(0x00400000)
#define F64_QUIET UINT64_C(0x0008000000000000)
#define F32_DEFAULT_NAN UINT32_C(0xffc00000)
#define F64_DEFAULT_NAN UINT64_C(0xfff8000000000000)

typedef enum FpOp {
    FP_ADD,
    FP_SUB,
    FP_RSUB,
    FP_MUL,
    FP_DIV,
    FP_MIN,
    FP_MAX,
} FpOp;

typedef enum FpCmp {
    CMP_EQ,
    CMP_LT,
    CMP_LE,
    CMP_UNORDERED,
    CMP_NEQ,
    CMP_NLT,
    CMP_NLE,
    CMP_ORDERED,
} FpCmp;

/* ---- the state around an operation ----------------------------------------------------------- */

static bool fp_is_enabled(E2kCpu *cpu)
{
    if (cpu->upsr & E2K_UPSR_FE) {
        return true;
    }
    e2k_raise(cpu, E2K_EXC_FP_DISABLED);
    return false;
}

/* Rounding by number: 0 nearest, 1 down, 2 up, 3 toward zero. */
static int host_rounding(unsigned rounding)
{
    static const int modes[] = { FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO };

    return modes[rounding & 3];
}

static void fp_begin(const E2kCpu *cpu)
{
    fesetround(host_rounding(cpu->pfpfr >> ROUNDING_SHIFT));
    feclearexcept(FE_ALL_EXCEPT);
}

static void fp_raise(E2kCpu *cpu, unsigned flags)
{
    cpu->pfpfr |= flags;
    if (flags & ~(cpu->pfpfr >> MASKS_SHIFT) & FLAGS) {
        e2k_raise(cpu, E2K_EXC_FP);
    }
}

static void fp_end(E2kCpu *cpu)
{
    int host = fetestexcept(FE_ALL_EXCEPT);
    unsigned flags = (host & FE_INVALID ? FLAG_INVALID : 0)
                   | (host & FE_DIVBYZERO ? FLAG_DIVIDE : 0)
                   | (host & FE_OVERFLOW ? FLAG_OVERFLOW : 0)
                   | (host & FE_UNDERFLOW ? FLAG_UNDERFLOW : 0)
                   | (host & FE_INEXACT ? FLAG_INEXACT : 0);

    fesetround(FE_TONEAREST);
    if (flags) {
        fp_raise(cpu, flags);
    }
}

/* ---- bits and values ------------------------------------------------------------------------- */

static float f32_value(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t f32_bits(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static double f64_value(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint64_t f64_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static bool f32_is_nan(uint32_t bits)
{
    return (bits & 0x7fffffff) > 0x7f800000;
}

static bool f64_is_nan(uint64_t bits)
{
    return (bits & INT64_MAX) > UINT64_C(0x7ff0000000000000);
}

static bool f32_is_signaling(uint32_t bits)
{
    return f32_is_nan(bits) && !(bits & F32_QUIET);
}

static bool f64_is_signaling(uint64_t bits)
{
    return f64_is_nan(bits) && !(bits & F64_QUIET);
}

/*
 * The NaN that an operation on @a and @b delivers, made quiet.  Of two, a quiet one wins over a
 * signaling one, then the one with the larger fraction.
 */
static uint32_t f32_nan(E2kCpu *cpu, uint32_t a, uint32_t b)
{
    bool a_signals = f32_is_signaling(a);
    bool b_signals = f32_is_signaling(b);
    bool take_b = !f32_is_nan(a);

    if (a_signals || b_signals) {
        fp_raise(cpu, FLAG_INVALID);
    }
    if (f32_is_nan(a) && f32_is_nan(b)) {
        take_b = a_signals != b_signals ? a_signals : (a & 0x7fffff) < (b & 0x7fffff);
    }
    return (take_b ? b : a) | F32_QUIET;
}

static uint64_t f64_nan(E2kCpu *cpu, uint64_t a, uint64_t b)
{
    uint64_t fraction = (UINT64_C(1) << 52) - 1;
    bool a_signals = f64_is_signaling(a);
    bool b_signals = f64_is_signaling(b);
    bool take_b = !f64_is_nan(a);

    if (a_signals || b_signals) {
        fp_raise(cpu, FLAG_INVALID);
    }
    if (f64_is_nan(a) && f64_is_nan(b)) {
        take_b = a_signals != b_signals ? a_signals : (a & fraction) < (b & fraction);
    }
    return (take_b ? b : a) | F64_QUIET;
}

/* A result, with what PFPFR says about denormal ones and one NaN for all that are new. */
static uint32_t f32_result(E2kCpu *cpu, float value)
{
    uint32_t bits = f32_bits(value);

    if (f32_is_nan(bits)) {
        return F32_DEFAULT_NAN;
    }
    if ((cpu->pfpfr & FLUSH_TO_ZERO) && fpclassify(value) == FP_SUBNORMAL) {
        fp_raise(cpu, FLAG_UNDERFLOW | FLAG_INEXACT);
        return bits & 0x80000000;
    }
    return bits;
}

static uint64_t f64_result(E2kCpu *cpu, double value)
{
    uint64_t bits = f64_bits(value);

    if (f64_is_nan(bits)) {
        return F64_DEFAULT_NAN;
    }
    if ((cpu->pfpfr & FLUSH_TO_ZERO) && fpclassify(value) == FP_SUBNORMAL) {
        fp_raise(cpu, FLAG_UNDERFLOW | FLAG_INEXACT);
        return bits & (UINT64_C(1) << 63);
    }
    return bits;
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

/* Volatile keeps the compiler from moving the computation out of fp_begin() and fp_end(). */
static float f32_compute(FpOp op, volatile float a, volatile float b)
{
    switch (op) {
    case FP_ADD:
        return a + b;
    case FP_SUB:
        return a - b;
    case FP_RSUB:
        return b - a;
    case FP_MUL:
        return a * b;
    default:
        return a / b;
    }
}

static double f64_compute(FpOp op, volatile double a, volatile double b)
{
    switch (op) {
    case FP_ADD:
        return a + b;
    case FP_SUB:
        return a - b;
    case FP_RSUB:
        return b - a;
    case FP_MUL:
        return a * b;
    default:
        return a / b;
    }
}

/* Minimum and maximum give the second source if there is a NaN or both are equal. */
static uint32_t f32_min_max(E2kCpu *cpu, FpOp op, uint32_t a, uint32_t b)
{
    if (f32_is_nan(a) || f32_is_nan(b)) {
        fp_raise(cpu, FLAG_INVALID);
        return b;
    }
    bool is_first = op == FP_MIN ? f32_value(a) < f32_value(b) : f32_value(a) > f32_value(b);
    return is_first ? a : b;
}

static uint64_t f64_min_max(E2kCpu *cpu, FpOp op, uint64_t a, uint64_t b)
{
    if (f64_is_nan(a) || f64_is_nan(b)) {
        fp_raise(cpu, FLAG_INVALID);
        return b;
    }
    bool is_first = op == FP_MIN ? f64_value(a) < f64_value(b) : f64_value(a) > f64_value(b);
    return is_first ? a : b;
}

static uint32_t f32_op(E2kCpu *cpu, FpOp op, uint32_t a, uint32_t b)
{
    if (!fp_is_enabled(cpu)) {
        return 0;
    }
    if (op == FP_MIN || op == FP_MAX) {
        return f32_min_max(cpu, op, a, b);
    }
    if (f32_is_nan(a) || f32_is_nan(b)) {
        return op == FP_RSUB ? f32_nan(cpu, b, a) : f32_nan(cpu, a, b);
    }
    fp_begin(cpu);
    volatile float value = f32_compute(op, f32_value(a), f32_value(b));
    fp_end(cpu);
    return f32_result(cpu, value);
}

static uint64_t f64_op(E2kCpu *cpu, FpOp op, uint64_t a, uint64_t b)
{
    if (!fp_is_enabled(cpu)) {
        return 0;
    }
    if (op == FP_MIN || op == FP_MAX) {
        return f64_min_max(cpu, op, a, b);
    }
    if (f64_is_nan(a) || f64_is_nan(b)) {
        return op == FP_RSUB ? f64_nan(cpu, b, a) : f64_nan(cpu, a, b);
    }
    fp_begin(cpu);
    volatile double value = f64_compute(op, f64_value(a), f64_value(b));
    fp_end(cpu);
    return f64_result(cpu, value);
}

/* The table at the end passes what to compute as @c. */
OP(f32_arith)
{
    return f32_op(cpu, c, a, b);
}

OP(f64_arith)
{
    return f64_op(cpu, c, a, b);
}

OP(f32_pair_arith)
{
    uint32_t low = f32_op(cpu, c, a, b);

    return low | (uint64_t)f32_op(cpu, c, a >> 32, b >> 32) << 32;
}

/* Difference in the lower lane, sum in the upper. */
OP(pfaddsubs)
{
    uint32_t low = f32_op(cpu, FP_SUB, a, b);

    return low | (uint64_t)f32_op(cpu, FP_ADD, a >> 32, b >> 32) << 32;
}

OP(f32_horizontal)
{
    uint32_t low = f32_op(cpu, c, a, a >> 32);

    return low | (uint64_t)f32_op(cpu, c, b, b >> 32) << 32;
}

static uint32_t f32_sqrt(E2kCpu *cpu, uint32_t a)
{
    if (!fp_is_enabled(cpu)) {
        return 0;
    }
    if (f32_is_nan(a)) {
        return f32_nan(cpu, a, a);
    }
    fp_begin(cpu);
    volatile float source = f32_value(a);
    volatile float value = sqrtf(source);
    fp_end(cpu);
    return f32_result(cpu, value);
}

OP(fsqrts)
{
    return f32_sqrt(cpu, b);
}

/* The 64-bit root takes two operations; the second has the whole work here. */
OP(fsqrtid)
{
    return b;
}

OP(fsqrttd)
{
    if (!fp_is_enabled(cpu)) {
        return 0;
    }
    if (f64_is_nan(a)) {
        return f64_nan(cpu, a, a);
    }
    fp_begin(cpu);
    volatile double source = f64_value(a);
    volatile double value = sqrt(source);
    fp_end(cpu);
    return f64_result(cpu, value);
}

OP(frcps)
{
    return f32_op(cpu, FP_DIV, f32_bits(1), b);
}

OP(frsqrts)
{
    return f32_op(cpu, FP_DIV, f32_bits(1), f32_sqrt(cpu, b));
}

/* ---- comparisons ----------------------------------------------------------------------------- */

/* With @is_unordered, there being a NaN, the other two are false. */
static bool cmp_result(FpCmp cmp, bool is_unordered, bool is_equal, bool is_less)
{
    switch (cmp) {
    case CMP_EQ:
        return is_equal;
    case CMP_LT:
        return is_less;
    case CMP_LE:
        return is_less || is_equal;
    case CMP_UNORDERED:
        return is_unordered;
    case CMP_NEQ:
        return !is_equal;
    case CMP_NLT:
        return !is_less;
    case CMP_NLE:
        return !is_less && !is_equal;
    default:
        return !is_unordered;
    }
}

/* Every comparison signals any NaN. */
static bool f32_cmp(E2kCpu *cpu, FpCmp cmp, uint32_t a, uint32_t b)
{
    if (!fp_is_enabled(cpu)) {
        return false;
    }
    if (f32_is_nan(a) || f32_is_nan(b)) {
        fp_raise(cpu, FLAG_INVALID);
        return cmp_result(cmp, true, false, false);
    }
    return cmp_result(cmp, false, f32_value(a) == f32_value(b), f32_value(a) < f32_value(b));
}

static bool f64_cmp(E2kCpu *cpu, FpCmp cmp, uint64_t a, uint64_t b)
{
    if (!fp_is_enabled(cpu)) {
        return false;
    }
    if (f64_is_nan(a) || f64_is_nan(b)) {
        fp_raise(cpu, FLAG_INVALID);
        return cmp_result(cmp, true, false, false);
    }
    return cmp_result(cmp, false, f64_value(a) == f64_value(b), f64_value(a) < f64_value(b));
}

OP(f32_cmp_pred)
{
    return f32_cmp(cpu, c, a, b);
}

OP(f64_cmp_pred)
{
    return f64_cmp(cpu, c, a, b);
}

/* All ones or zero. */
OP(f32_cmp_mask)
{
    return (uint32_t)-f32_cmp(cpu, c, a, b);
}

OP(f64_cmp_mask)
{
    return -(uint64_t)f64_cmp(cpu, c, a, b);
}

OP(f32_pair_cmp_mask)
{
    uint64_t low = f32_cmp_mask(cpu, a, b, c);

    return low | f32_cmp_mask(cpu, a >> 32, b >> 32, c) << 32;
}

/* ---- conversions ----------------------------------------------------------------------------- */

#define ROUND_TRUNCATE 3

static unsigned current_rounding(const E2kCpu *cpu)
{
    return cpu->pfpfr >> ROUNDING_SHIFT & 3;
}

/* @value as an integer, rounded by mode number @rounding. */
static double round_double(double value, unsigned rounding)
{
    volatile double source = value;

    fesetround(host_rounding(rounding));
    volatile double rounded = nearbyint(source);
    fesetround(FE_TONEAREST);
    return rounded;
}

/* To 32 or 64 bits; what does not fit gives the most negative number. */
static uint64_t to_integer(E2kCpu *cpu, double value, unsigned bits, unsigned rounding)
{
    double limit = ldexp(1, bits - 1);

    if (!fp_is_enabled(cpu)) {
        return 0;
    }
    double rounded = isfinite(value) ? round_double(value, rounding) : value;
    if (isnan(value) || rounded >= limit || rounded < -limit) {
        fp_raise(cpu, FLAG_INVALID);
        return UINT64_C(1) << (bits - 1);
    }
    if (rounded != value) {
        fp_raise(cpu, FLAG_INEXACT);
    }
    int64_t result = rounded;
    return bits == 32 ? (uint32_t)result : (uint64_t)result;
}

OP(fstois)
{
    return to_integer(cpu, f32_value(b), 32, current_rounding(cpu));
}

OP(fstoid)
{
    return to_integer(cpu, f32_value(b), 64, current_rounding(cpu));
}

OP(fdtois)
{
    return to_integer(cpu, f64_value(b), 32, current_rounding(cpu));
}

OP(fdtoid)
{
    return to_integer(cpu, f64_value(b), 64, current_rounding(cpu));
}

OP(fstoistr)
{
    return to_integer(cpu, f32_value(b), 32, ROUND_TRUNCATE);
}

OP(fstoidtr)
{
    return to_integer(cpu, f32_value(b), 64, ROUND_TRUNCATE);
}

OP(fdtoistr)
{
    return to_integer(cpu, f64_value(b), 32, ROUND_TRUNCATE);
}

OP(fdtoidtr)
{
    return to_integer(cpu, f64_value(b), 64, ROUND_TRUNCATE);
}

static uint32_t integer_to_f32(E2kCpu *cpu, int64_t source)
{
    volatile int64_t from = source;

    if (!fp_is_enabled(cpu)) {
        return 0;
    }
    fp_begin(cpu);
    volatile float value = (float)from;
    fp_end(cpu);
    return f32_bits(value);
}

static uint64_t integer_to_f64(E2kCpu *cpu, int64_t source)
{
    volatile int64_t from = source;

    if (!fp_is_enabled(cpu)) {
        return 0;
    }
    fp_begin(cpu);
    volatile double value = (double)from;
    fp_end(cpu);
    return f64_bits(value);
}

OP(istofs)
{
    return integer_to_f32(cpu, (int32_t)b);
}

OP(istofd)
{
    return integer_to_f64(cpu, (int32_t)b);
}

OP(idtofs)
{
    return integer_to_f32(cpu, b);
}

OP(idtofd)
{
    return integer_to_f64(cpu, b);
}

OP(fstofd)
{
    uint32_t source = b;

    if (!fp_is_enabled(cpu)) {
        return 0;
    }
    if (f32_is_nan(source)) {
        source = f32_nan(cpu, source, source);
        return (uint64_t)(source & 0x80000000) << 32 | UINT64_C(0x7ff) << 52
             | (uint64_t)(source & 0x7fffff) << 29;
    }
    return f64_bits(f32_value(source));
}

OP(fdtofs)
{
    if (!fp_is_enabled(cpu)) {
        return 0;
    }
    if (f64_is_nan(b)) {
        uint64_t nan = f64_nan(cpu, b, b);

        return (nan >> 32 & 0x80000000) | 0x7f800000 | (nan >> 29 & 0x7fffff);
    }
    fp_begin(cpu);
    volatile double source = f64_value(b);
    volatile float value = (float)source;
    fp_end(cpu);
    return f32_result(cpu, value);
}

/* Rounding to an integral value; @a: mode 1:0, 2 take that of PFPFR instead, 3 never inexact. */
#define ROUND_BY_PFPFR 4
#define ROUND_SILENTLY 8

static double round_to_integral(E2kCpu *cpu, double value, uint64_t a)
{
    double rounded = round_double(value, a & ROUND_BY_PFPFR ? current_rounding(cpu) : a & 3);

    if (rounded != value && !(a & ROUND_SILENTLY)) {
        fp_raise(cpu, FLAG_INEXACT);
    }
    return rounded;
}

OP(fstoifs)
{
    uint32_t source = b;

    if (!fp_is_enabled(cpu)) {
        return 0;
    }
    if (f32_is_nan(source)) {
        return f32_nan(cpu, source, source);
    }
    return f32_bits(round_to_integral(cpu, f32_value(source), a));
}

OP(fdtoifd)
{
    if (!fp_is_enabled(cpu)) {
        return 0;
    }
    return f64_is_nan(b) ? f64_nan(cpu, b, b)
         : f64_bits(round_to_integral(cpu, f64_value(b), a));
}

/* Pairs of 32-bit values, and what lies beside them. */
OP(pfstoifs)
{
    uint64_t low = fstoifs(cpu, a, b, 0);

    return low | fstoifs(cpu, a, b >> 32, 0) << 32;
}

OP(pfstois)
{
    uint64_t low = fstois(cpu, a, b, 0);

    return low | fstois(cpu, a, b >> 32, 0) << 32;
}

OP(pfstoistr)
{
    uint64_t low = fstoistr(cpu, a, b, 0);

    return low | fstoistr(cpu, a, b >> 32, 0) << 32;
}

OP(pistofs)
{
    uint64_t low = istofs(cpu, a, b, 0);

    return low | istofs(cpu, a, b >> 32, 0) << 32;
}

/* pfdivs and pfsqrts work on 32 bits, in spite of their names. */
const E2kAluArgEntry e2k_alu_fp[] = {
    { "fadds", f32_arith, FP_ADD },               { "faddd", f64_arith, FP_ADD },
    { "pfadds", f32_pair_arith, FP_ADD },         { "pfaddd", f64_arith, FP_ADD },
    { "fsubs", f32_arith, FP_SUB },               { "fsubd", f64_arith, FP_SUB },
    { "pfsubs", f32_pair_arith, FP_SUB },         { "pfsubd", f64_arith, FP_SUB },
    { "frsubs", f32_arith, FP_RSUB },             { "frsubd", f64_arith, FP_RSUB },
    { "pfrsubs", f32_pair_arith, FP_RSUB },       { "pfrsubd", f64_arith, FP_RSUB },
    { "fmuls", f32_arith, FP_MUL },               { "fmuld", f64_arith, FP_MUL },
    { "pfmuls", f32_pair_arith, FP_MUL },         { "pfmuld", f64_arith, FP_MUL },
    { "fdivs", f32_arith, FP_DIV },               { "fdivd", f64_arith, FP_DIV },
    { "pfdivs", f32_arith, FP_DIV },              { "pfdivd", f64_arith, FP_DIV },
    { "fmins", f32_arith, FP_MIN },               { "fmind", f64_arith, FP_MIN },
    { "pfmins", f32_pair_arith, FP_MIN },         { "pfmind", f64_arith, FP_MIN },
    { "fmaxs", f32_arith, FP_MAX },               { "fmaxd", f64_arith, FP_MAX },
    { "pfmaxs", f32_pair_arith, FP_MAX },         { "pfmaxd", f64_arith, FP_MAX },
    { "pfaddsubs", pfaddsubs, 0 },                { "pfhadds", f32_horizontal, FP_ADD },
    { "pfhsubs", f32_horizontal, FP_SUB },        { "fsqrts", fsqrts, 0 },
    { "fsqrtid", fsqrtid, 0 },                    { "fsqrttd", fsqrttd, 0 },
    { "pfsqrts", fsqrts, 0 },                     { "pfsqrtid", fsqrtid, 0 },
    { "pfsqrttd", fsqrttd, 0 },                   { "frcps", frcps, 0 },
    { "frsqrts", frsqrts, 0 },                    { "fcmpeqsb", f32_cmp_pred, CMP_EQ },
    { "fcmpeqdb", f64_cmp_pred, CMP_EQ },         { "fcmpeqs", f32_cmp_mask, CMP_EQ },
    { "fcmpeqd", f64_cmp_mask, CMP_EQ },          { "pfcmpeqs", f32_pair_cmp_mask, CMP_EQ },
    { "pfcmpeqd", f64_cmp_mask, CMP_EQ },         { "fcmpltsb", f32_cmp_pred, CMP_LT },
    { "fcmpltdb", f64_cmp_pred, CMP_LT },         { "fcmplts", f32_cmp_mask, CMP_LT },
    { "fcmpltd", f64_cmp_mask, CMP_LT },          { "pfcmplts", f32_pair_cmp_mask, CMP_LT },
    { "pfcmpltd", f64_cmp_mask, CMP_LT },         { "fcmplesb", f32_cmp_pred, CMP_LE },
    { "fcmpledb", f64_cmp_pred, CMP_LE },         { "fcmples", f32_cmp_mask, CMP_LE },
    { "fcmpled", f64_cmp_mask, CMP_LE },          { "pfcmples", f32_pair_cmp_mask, CMP_LE },
    { "pfcmpled", f64_cmp_mask, CMP_LE },         { "fcmpuodsb", f32_cmp_pred, CMP_UNORDERED },
    { "fcmpuoddb", f64_cmp_pred, CMP_UNORDERED }, { "fcmpuods", f32_cmp_mask, CMP_UNORDERED },
    { "fcmpuodd", f64_cmp_mask, CMP_UNORDERED },  { "pfcmpuods", f32_pair_cmp_mask, CMP_UNORDERED },
    { "pfcmpuodd", f64_cmp_mask, CMP_UNORDERED }, { "fcmpneqsb", f32_cmp_pred, CMP_NEQ },
    { "fcmpneqdb", f64_cmp_pred, CMP_NEQ },       { "fcmpneqs", f32_cmp_mask, CMP_NEQ },
    { "fcmpneqd", f64_cmp_mask, CMP_NEQ },        { "pfcmpneqs", f32_pair_cmp_mask, CMP_NEQ },
    { "pfcmpneqd", f64_cmp_mask, CMP_NEQ },       { "fcmpnltsb", f32_cmp_pred, CMP_NLT },
    { "fcmpnltdb", f64_cmp_pred, CMP_NLT },       { "fcmpnlts", f32_cmp_mask, CMP_NLT },
    { "fcmpnltd", f64_cmp_mask, CMP_NLT },        { "pfcmpnlts", f32_pair_cmp_mask, CMP_NLT },
    { "pfcmpnltd", f64_cmp_mask, CMP_NLT },       { "fcmpnlesb", f32_cmp_pred, CMP_NLE },
    { "fcmpnledb", f64_cmp_pred, CMP_NLE },       { "fcmpnles", f32_cmp_mask, CMP_NLE },
    { "fcmpnled", f64_cmp_mask, CMP_NLE },        { "pfcmpnles", f32_pair_cmp_mask, CMP_NLE },
    { "pfcmpnled", f64_cmp_mask, CMP_NLE },       { "fcmpodsb", f32_cmp_pred, CMP_ORDERED },
    { "fcmpoddb", f64_cmp_pred, CMP_ORDERED },    { "fcmpods", f32_cmp_mask, CMP_ORDERED },
    { "fcmpodd", f64_cmp_mask, CMP_ORDERED },     { "pfcmpods", f32_pair_cmp_mask, CMP_ORDERED },
    { "pfcmpodd", f64_cmp_mask, CMP_ORDERED },    { "fstois", fstois, 0 },
    { "fstoid", fstoid, 0 },                      { "fdtois", fdtois, 0 },
    { "fdtoid", fdtoid, 0 },                      { "fstoistr", fstoistr, 0 },
    { "fstoidtr", fstoidtr, 0 },                  { "fdtoistr", fdtoistr, 0 },
    { "fdtoidtr", fdtoidtr, 0 },                  { "istofs", istofs, 0 },
    { "istofd", istofd, 0 },                      { "idtofs", idtofs, 0 },
    { "idtofd", idtofd, 0 },                      { "fstofd", fstofd, 0 },
    { "fdtofs", fdtofs, 0 },                      { "pfstois", pfstois, 0 },
    { "pfstoistr", pfstoistr, 0 },                { "pistofs", pistofs, 0 },
    { "pfstofd", fstofd, 0 },                     { "pfdtofs", fdtofs, 0 },
    { "pfdtois", fdtois, 0 },                     { "pfdtoistr", fdtoistr, 0 },
    { "fstoifs", fstoifs, 0 },                    { "fdtoifd", fdtoifd, 0 },
    { "pfstoifs", pfstoifs, 0 },                  { "pfdtoifd", fdtoifd, 0 },
    { NULL, NULL, 0 },
};
