/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disassembler.  A bundle prints as: loop mode, nop, jump, array stubs, channel operations, array
 * moves, CS0, CS1, predicate logic.
 */
#include "qemu/osdep.h"

#include "disas.h"

static const struct {
    uint8_t number;
    const char *name;
} special_names[] = {
    { 0x00, "psr" },     { 0x01, "wd" },       { 0x04, "core_mode" }, { 0x06, "cwd" },
    { 0x07, "psp.hi" },  { 0x09, "psp.lo" },   { 0x0b, "pshtp" },     { 0x0d, "pcsp.hi" },
    { 0x0f, "pcsp.lo" }, { 0x13, "pcshtp" },   { 0x15, "ctpr1" },     { 0x16, "ctpr2" },
    { 0x17, "ctpr3" },   { 0x1e, "sbr" },      { 0x21, "cutd" },      { 0x23, "eir" },
    { 0x25, "cuir" },    { 0x26, "oscud.hi" }, { 0x27, "oscud.lo" },  { 0x28, "osgd.hi" },
    { 0x29, "osgd.lo" }, { 0x2a, "osem" },     { 0x2c, "usd.hi" },    { 0x2d, "usd.lo" },
    { 0x2f, "osr0" },    { 0x30, "cud.hi" },   { 0x31, "cud.lo" },    { 0x32, "gd.hi" },
    { 0x33, "gd.lo" },   { 0x34, "cs.hi" },    { 0x35, "cs.lo" },     { 0x36, "ds.hi" },
    { 0x37, "ds.lo" },   { 0x38, "es.hi" },    { 0x39, "es.lo" },     { 0x3a, "fs.hi" },
    { 0x3b, "fs.lo" },   { 0x3c, "gs.hi" },    { 0x3d, "gs.lo" },     { 0x3e, "ss.hi" },
    { 0x3f, "ss.lo" },   { 0x40, "dibcr" },    { 0x41, "dimcr" },     { 0x42, "dibsr" },
    { 0x43, "dtcr" },    { 0x48, "dibar0" },   { 0x49, "dibar1" },    { 0x4a, "dibar2" },
    { 0x4b, "dibar3" },  { 0x4c, "dimar0" },   { 0x4d, "dimar1" },    { 0x4e, "dtarf" },
    { 0x4f, "dtart" },   { 0x51, "cr0.hi" },   { 0x53, "cr0.lo" },    { 0x55, "cr1.hi" },
    { 0x57, "cr1.lo" },  { 0x70, "sclkm1" },   { 0x71, "sclkm2" },    { 0x78, "cu_hw0" },
    { 0x79, "cu_hw1" },  { 0x80, "upsr" },     { 0x81, "ip" },        { 0x82, "nip" },
    { 0x83, "lsr" },     { 0x84, "pfpfr" },    { 0x85, "fpcr" },      { 0x86, "fpsr" },
    { 0x87, "ilcr" },    { 0x88, "br" },       { 0x89, "bgr" },       { 0x8a, "idr" },
    { 0x90, "clkr" },    { 0x91, "rndpr" },    { 0x92, "sclkr" },     { 0x9c, "tir.hi" },
    { 0x9d, "tir.lo" },  { 0xa0, "rpr.lo" },   { 0xa1, "sbbp" },      { 0xa2, "rpr.hi" },
    { 0xc0, "upsrm" },   { 0xc3, "lsr1" },     { 0xc7, "ilcr1" },
};

const char *e2k_special_name(unsigned number)
{
    for (size_t i = 0; i < G_N_ELEMENTS(special_names); i++) {
        if (special_names[i].number == number) {
            return special_names[i].name;
        }
    }
    return NULL;
}

/* One operation while it is being printed. */
typedef struct OpText {
    const E2kDisas *dis;
    const E2kParts *parts;
    const E2kOp *op;
    unsigned channel;
    const char *size;  /* next letter of op->sizes */
    bool has_operand;  /* one was printed already */
} OpText;

/* Begin the next part of the bundle; @start is the length of the text before the bundle. */
static GString *next_part(const E2kDisas *dis, size_t start)
{
    if (dis->out->len > start) {
        g_string_append(dis->out, " ; ");
    }
    return dis->out;
}

static GString *next_operand(OpText *text)
{
    g_string_append(text->dis->out, text->has_operand ? ", " : " ");
    text->has_operand = true;
    return text->dis->out;
}

static const char *size_prefix(char size)
{
    switch (size) {
    case 'D':
        return "d";
    case 'Q':
        return "q";
    case 'P':
        return "qp";
    default:
        return "";
    }
}

/* A register byte (not 110xxxxx). */
static void print_register(GString *out, char size, uint8_t reg)
{
    const char *prefix = size_prefix(size);

    if (!(reg & 0x80)) {
        g_string_append_printf(out, "%%%sb[%u]", prefix, reg & 0x7f);
    } else if (!(reg & 0x40)) {
        g_string_append_printf(out, "%%%sr%u", prefix, reg & 0x3f);
    } else {
        g_string_append_printf(out, "%%%sg%u", prefix, reg & 0x1f);
    }
}

static char take_size(OpText *text)
{
    return *text->size ? *text->size++ : 'D';
}

static void print_src1(OpText *text, uint8_t src)
{
    char size = take_size(text);
    GString *out = next_operand(text);

    if ((src & 0xe0) == 0xc0) {
        g_string_append_printf(out, "0x%x", src & 0x1f);
    } else {
        print_register(out, size, src);
    }
}

static void print_literal(GString *out, const E2kParts *parts, uint8_t src)
{
    uint64_t value;

    if (!e2k_literal(parts, src, &value)) {
        g_string_append(out, "<no literal>");
    } else if ((src & 0xf8) == 0xd0) {
        g_string_append_printf(out, "_f16s 0x%x", (uint16_t)value);
    } else if ((src & 0xfc) == 0xd8) {
        g_string_append_printf(out, "_f32s 0x%x", (uint32_t)value);
    } else {
        g_string_append_printf(out, "_f64 0x%" PRIx64, value);
    }
}

static void print_src2(OpText *text, uint8_t src)
{
    char size = take_size(text);
    GString *out = next_operand(text);

    if ((src & 0xf0) == 0xc0) {
        g_string_append_printf(out, "0x%x", src & 15);
    } else if ((src & 0xf0) == 0xd0) {
        print_literal(out, text->parts, src);
    } else {
        print_register(out, size, src);
    }
}

static void print_src3(OpText *text, uint8_t src)
{
    char size = take_size(text);
    GString *out = next_operand(text);

    if ((src & 0xe0) == 0xc0) {
        g_string_append_printf(out, "<0x%02x>", src);
    } else {
        print_register(out, size, src);
    }
}

static void print_dst(OpText *text, uint8_t dst)
{
    char size = take_size(text);
    GString *out = next_operand(text);

    if (dst >= 0xd1 && dst <= 0xd3) {
        g_string_append_printf(out, "%%ctpr%u", dst & 3);
    } else if (dst >= 0xcd && dst <= 0xcf) {
        static const char *const names[] = { "%tst", "%tc", "%tcd" };

        g_string_append(out, names[dst - 0xcd]);
    } else if ((dst & 0xfe) == 0xde) {
        g_string_append(out, "%empty");
    } else if ((dst & 0xe0) == 0xc0) {
        g_string_append_printf(out, "<0x%02x>", dst);
    } else {
        print_register(out, size, dst);
    }
}

static void print_special(OpText *text, uint8_t number)
{
    const char *name = e2k_special_name(number);
    GString *out = next_operand(text);

    take_size(text);
    if (name) {
        g_string_append_printf(out, "%%%s", name);
    } else {
        g_string_append_printf(out, "%%sr_0x%02x", number);
    }
}

/* CDS ---------------------------------------------------------------------------------------- */

static void print_cds_source(GString *out, unsigned entry, unsigned bit)
{
    if (entry >> (7 + bit) & 1) {
        g_string_append_c(out, '~');
    }
    if ((entry & 0x60) == 0x60) {
        g_string_append_printf(out, "%%pred%u", entry & 31);
    } else if ((entry & 0x60) == 0x40) {
        g_string_append_printf(out, "%%pcnt%u", entry & 31);
    } else {
        g_string_append_printf(out, "<0x%02x>", entry & 0x7f);
    }
}

/* Print the sources of the CDS entries of @kind (RLP or MRGC) that cover @channel. */
static void print_cds(const OpText *text, bool is_mrgc, const char *before)
{
    unsigned kind = (is_mrgc ? 2 : 0) + text->channel / 3;
    unsigned bit = text->channel % 3;

    for (unsigned i = 0; i < 6; i++) {
        unsigned entry = text->parts->cds[i / 2] >> (i % 2 ? 0 : 16) & 0xffff;

        if (entry >> 14 == kind && (entry >> (10 + bit) & 1)) {
            g_string_append(text->dis->out, before);
            print_cds_source(text->dis->out, entry, bit);
        }
    }
}

/* Channel operations ------------------------------------------------------------------------- */

static bool has_merge(E2kForm form)
{
    return form == E2K_MERGE || form == E2K_F11_MERGE || form == E2K_F21_MERGE;
}

static void print_array_address(OpText *text, uint32_t als)
{
    GString *out = text->dis->out;

    g_string_append_printf(out, "%%aad%u [ %%aasti%u", als >> 19 & 31, als >> 15 & 15);
    if (als >> 8 & 3) {
        g_string_append(out, " + ");
        print_literal(out, text->parts, 0xd8 + (als >> 8 & 3) - 1);
    }
    g_string_append(out, " ]");
}

static void print_destination(OpText *text, uint32_t als)
{
    switch (text->op->form) {
    case E2K_F7:
    case E2K_F8:
    case E2K_F17:
        g_string_append_printf(next_operand(text), "%%pred%u", als & 31);
        break;
    case E2K_F15:
        print_special(text, als & 0xff);
        break;
    case E2K_F3:
    case E2K_F13:
        print_src3(text, als & 0xff);
        break;
    case E2K_F10:
    case E2K_AAURW:
        print_src3(text, als & 0xff);
        next_operand(text);
        print_array_address(text, als);
        break;
    case E2K_F19:
        next_operand(text);
        print_array_address(text, als);
        print_dst(text, als & 0xff);
        break;
    case E2K_AAURR:
        break;
    default:
        print_dst(text, als & 0xff);
        break;
    }
}

static void print_operands(OpText *text)
{
    uint32_t als = text->parts->als[text->channel];
    uint8_t low = text->parts->ales[text->channel] & 0xff;
    E2kForm form = text->op->form;
    unsigned sources = e2k_form_sources(form);

    if (form == E2K_F16) {
        print_special(text, als >> 16 & 0xff);
    }
    if (sources & 1) {
        print_src1(text, als >> 16 & 0xff);
    }
    if (sources & 2) {
        print_src2(text, als >> 8 & 0xff);
    }
    if (form == E2K_F21 || form == E2K_F21_MERGE) {
        print_src3(text, low);
    }
    if (form == E2K_F11_LIT8 || form == E2K_F12_PSHUFH) {
        g_string_append_printf(next_operand(text), "0x%x", low);
    }
    if (form == E2K_F12_ICALLD) {
        g_string_append_printf(next_operand(text), "wbs = 0x%x", als >> 16 & 0x7f);
    }
    print_destination(text, als);
    if (has_merge(form)) {
        print_cds(text, true, ", ");
    }
}

/* Print the operation in @channel; @skip collects channels that it covers as well. */
static void print_channel(const E2kDisas *dis, const E2kParts *parts, unsigned channel,
                          unsigned *skip)
{
    OpText text = { .dis = dis, .parts = parts, .channel = channel };
    unsigned mas = e2k_channel_mas(parts, channel);
    uint32_t als = parts->als[channel];

    text.op = e2k_channel_op(parts, channel, dis->isa);
    if (!text.op) {
        g_string_append_printf(dis->out, "illegal,%u 0x%08x", channel, als);
        return;
    }
    text.size = text.op->sizes;
    g_string_append_printf(dis->out, "%s,%u%s", text.op->name, channel, als >> 31 ? ",sm" : "");
    print_operands(&text);

    int pair = e2k_pair_channel(parts, text.op, channel, dis->isa);
    if (pair >= 0) {
        *skip |= 1u << pair;
    }
    if ((text.op->flags & E2K_OP_MAS) && mas) {
        g_string_append_printf(dis->out, ", mas = 0x%x", mas);
    }
    print_cds(&text, false, " ? ");
    if ((text.op->form == E2K_F10 || text.op->form == E2K_F19) && (als >> 10 & 1)) {
        g_string_append_printf(dis->out, " ; incr,%u %%aaincr%u", channel, als >> 12 & 7);
    }
}

static void print_channels(const E2kDisas *dis, const E2kParts *parts, size_t start)
{
    unsigned skip = 0;

    for (unsigned i = 0; i < E2K_N_CHANNELS; i++) {
        if (e2k_hs_has_als(parts->hs, i) && !(skip >> i & 1)) {
            next_part(dis, start);
            print_channel(dis, parts, i, &skip);
        }
    }
}

static void print_array_moves(const E2kDisas *dis, const E2kParts *parts, size_t start)
{
    static const char *const names[] = {
        "mova?", "movab", "movah", "movaw", "movad", "movaq", "mova?", "movaqp",
    };
    static const char sizes[] = "DDDDDQDP";

    if (!e2k_ss_is_sf1(parts->ss)) {
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        unsigned aas = parts->aas[2 + i];
        unsigned opcode = aas >> 12 & 7;
        uint8_t dst = parts->aas[i / 2] >> (i % 2 ? 0 : 8);

        if (!(parts->ss >> (12 + i) & 1)) {
            continue;
        }
        GString *out = next_part(dis, start);
        g_string_append_printf(out, "%s,%u area = %u, ind = %u, am = %u, be = %u, ", names[opcode],
                               i, aas >> 6 & 31, aas >> 1 & 31, aas & 1, aas >> 15);
        print_register(out, sizes[opcode], dst);
    }
}

/* SS ----------------------------------------------------------------------------------------- */

static void print_mlock_condition(GString *out, unsigned operand)
{
    static const uint8_t channels[] = { 0, 1, 3, 4 };

    g_string_append(out, "%MLOCK");
    for (unsigned i = 0; i < 4; i++) {
        if (operand >> i & 1) {
            g_string_append_printf(out, " || %%dt_al%u", channels[i]);
        }
    }
}

static void print_compare_condition(GString *out, unsigned operand)
{
    static const uint8_t channels[] = { 0, 1, 3, 4 };

    g_string_append(out, "%MLOCK || ");
    switch (operand >> 3) {
    case 0:
        g_string_append_printf(out, "%s%%cmp%u", operand & 1 ? "~" : "",
                               channels[operand >> 1 & 3]);
        break;
    case 1:
        g_string_append_printf(out, "%s%%cmp%u || %s%%cmp%u", operand & 2 ? "~" : "",
                               channels[(operand >> 2 & 1) * 2], operand & 1 ? "~" : "",
                               channels[(operand >> 2 & 1) * 2 + 1]);
        break;
    case 2:
        g_string_append_printf(out, "%s%%clp%u", operand & 1 ? "~" : "", operand >> 1 & 3);
        break;
    default:
        g_string_append_printf(out, "<0x%02x>", operand);
        break;
    }
}

/* " ? condition", or nothing when it is always true. */
static void print_condition(const E2kDisas *dis, uint32_t ss)
{
    unsigned operand = e2k_ss_cond_operand(ss);
    GString *out = dis->out;

    if (e2k_ss_cond(ss) == 1) {
        return;
    }
    g_string_append(out, " ? ");
    switch (e2k_ss_cond(ss)) {
    case 2:
        g_string_append_printf(out, "%%pred%u", operand);
        break;
    case 3:
        g_string_append_printf(out, "~%%pred%u", operand);
        break;
    case 4:
        g_string_append(out, "%LOOP_END");
        break;
    case 5:
        g_string_append(out, "%NOT_LOOP_END");
        break;
    case 6:
        g_string_append_printf(out, "%%pred%u || %%LOOP_END", operand);
        break;
    case 7:
        g_string_append_printf(out, "~%%pred%u && %%NOT_LOOP_END", operand);
        break;
    case 8:
        print_mlock_condition(out, operand);
        break;
    case 9:
        print_compare_condition(out, operand);
        break;
    case 14:
        g_string_append_printf(out, "~%%pred%u || %%LOOP_END", operand);
        break;
    case 15:
        g_string_append_printf(out, "%%pred%u && %%NOT_LOOP_END", operand);
        break;
    default:
        g_string_append_printf(out, "<condition %u>", e2k_ss_cond(ss));
        break;
    }
}

static bool is_call(const E2kParts *parts)
{
    return e2k_hs_has_cs1(parts->hs) && parts->cs1 >> 28 == E2K_CS1_CALL;
}

static void print_stubs(const E2kDisas *dis, uint32_t ss, size_t start)
{
    if (ss >> 29 & 1) {
        g_string_append(next_part(dis, start), "eap");
    }
    if (ss >> 28 & 1) {
        g_string_append(next_part(dis, start), "bap");
    }
    unsigned recovery = (ss >> 27 & 1) << 1 | (ss >> 25 & 1);
    if (recovery) {
        static const char *const names[] = { "crp", "srp", "slrp" };

        g_string_append(next_part(dis, start), names[recovery - 1]);
    }
    if (ss >> 26 & 1) {
        g_string_append(next_part(dis, start), "vfdi");
    }
    if (ss >> 23 & 3) {
        g_string_append_printf(next_part(dis, start), "abg abgi=%u, abgd=%u", ss >> 24 & 1,
                               ss >> 23 & 1);
    }
    if (ss >> 21 & 3) {
        g_string_append_printf(next_part(dis, start), "abn abnf=%u, abnt=%u", ss >> 22 & 1,
                               ss >> 21 & 1);
    }
    if (!e2k_ss_is_sf1(ss)) {
        return;
    }
    if (ss >> 18 & 3) {
        g_string_append_printf(next_part(dis, start), "abp abpf=%u, abpt=%u", ss >> 19 & 1,
                               ss >> 18 & 1);
    }
    if (ss >> 16 & 3) {
        g_string_append_printf(next_part(dis, start), "alc alcf=%u, alct=%u", ss >> 17 & 1,
                               ss >> 16 & 1);
    }
}

static void print_ss(const E2kDisas *dis, const E2kParts *parts, size_t start)
{
    uint32_t ss = parts->ss;

    if (!e2k_hs_has_ss(parts->hs)) {
        return;
    }
    if (e2k_ss_ctop(ss) && !is_call(parts)) {
        g_string_append_printf(next_part(dis, start), "ct %%ctpr%u", e2k_ss_ctop(ss));
        print_condition(dis, ss);
    }
    g_string_append_printf(next_part(dis, start), "ipd %u", ss >> 30);
    print_stubs(dis, ss, start);
}

/* CS0, CS1 ----------------------------------------------------------------------------------- */

static void print_cs0(const E2kDisas *dis, const E2kParts *parts, size_t start)
{
    uint32_t cs0 = parts->cs0;
    uint64_t target = dis->address + e2k_cs0_disp(cs0);
    unsigned ctpr = cs0 >> 30;
    E2kCs0Op op = e2k_cs0_op(parts);

    if (op == E2K_CS0_NONE || op == E2K_CS0_CALL_PARAM) {
        return;
    }
    GString *out = next_part(dis, start);
    switch (op) {
    case E2K_CS0_IBRANCH:
        g_string_append_printf(out, "ibranch 0x%" PRIx64, target);
        print_condition(dis, parts->ss);
        break;
    case E2K_CS0_DONE:
    case E2K_CS0_IRET:
    case E2K_CS0_HRET:
    case E2K_CS0_GLAUNCH: {
        static const char *const names[] = { "done", "iret", "hret", "glaunch" };

        g_string_append(out, names[op - E2K_CS0_DONE]);
        print_condition(dis, parts->ss);
        break;
    }
    case E2K_CS0_PREF:
        g_string_append_printf(out, "pref %%pred%u, 0x%x, ipd = %u", cs0 & 7, cs0 >> 4 & 0xffffff,
                               cs0 >> 3 & 1);
        break;
    case E2K_CS0_PUTTSD:
        g_string_append_printf(out, "puttsd 0x%" PRIx64, target);
        break;
    case E2K_CS0_DISP:
        g_string_append_printf(out, "disp %%ctpr%u, 0x%" PRIx64, ctpr, target);
        break;
    case E2K_CS0_LDISP:
        g_string_append_printf(out, "ldisp %%ctpr%u, 0x%" PRIx64, ctpr, target);
        break;
    case E2K_CS0_SDISP:
        g_string_append_printf(out, "sdisp %%ctpr%u, 0x%x", ctpr, cs0 & 31);
        break;
    case E2K_CS0_GETTSD:
        g_string_append_printf(out, "gettsd %%ctpr%u", ctpr);
        break;
    case E2K_CS0_RETURN:
        g_string_append_printf(out, "return %%ctpr%u", ctpr);
        break;
    default:
        g_string_append_printf(out, "illegal.cs0 0x%08x", cs0);
        break;
    }
}

static void print_setr(const E2kDisas *dis, const E2kParts *parts, size_t start)
{
    uint32_t cs1 = parts->cs1;
    unsigned op = cs1 >> 28;

    if (op != E2K_CS1_SETBR) {
        uint32_t lts = parts->lts[0];

        if (op == E2K_CS1_SETR1) {
            g_string_append_printf(next_part(dis, start), "vfrpsz rpsz = 0x%x", lts >> 12 & 31);
        }
        g_string_append_printf(next_part(dis, start), "setwd wsz = 0x%x, nfx = 0x%x",
                               lts >> 5 & 0x7f, lts >> 4 & 1);
        if (dis->isa >= 3) {
            g_string_append_printf(dis->out, ", dbl = 0x%x", lts >> 3 & 1);
        }
    }
    if (cs1 >> 26 & 1) {
        g_string_append_printf(next_part(dis, start), "setbn rbs = 0x%x, rsz = 0x%x, rcur = 0x%x",
                               cs1 & 63, cs1 >> 6 & 63, cs1 >> 12 & 63);
    }
    if (cs1 >> 27 & 1) {
        g_string_append_printf(next_part(dis, start), "setbp psz = 0x%x", cs1 >> 18 & 31);
    }
}

static void print_wait(const E2kDisas *dis, uint32_t cs1, size_t start)
{
    static const char *const names[] = {
        "all_c", "all_e", "st_c", "ld_c", "fl_c", "ma_c", "trap", "sas", "sal",
    };
    bool is_first = true;

    g_string_append(next_part(dis, start), "wait ");
    for (int i = G_N_ELEMENTS(names) - 1; i >= 0; i--) {
        /* The newer bits qualify st_c and ld_c and are shown only with them. */
        if ((i == 8 && !(dis->isa >= 4 && (cs1 >> 3 & 1)))
            || (i == 7 && !(dis->isa >= 4 && (cs1 >> 2 & 1))) || (i == 6 && dis->isa < 2)) {
            continue;
        }
        g_string_append_printf(dis->out, "%s%s = %u", is_first ? "" : ", ", names[i],
                               cs1 >> i & 1);
        is_first = false;
    }
}

static void print_call(const E2kDisas *dis, const E2kParts *parts, size_t start)
{
    unsigned wbs = parts->cs1 & 0x7f;
    unsigned kind = parts->cs1 >> 7 & 7;
    GString *out = next_part(dis, start);

    if (e2k_ss_ctop(parts->ss)) {
        g_string_append_printf(out, "call %%ctpr%u, wbs = 0x%x", e2k_ss_ctop(parts->ss), wbs);
    } else if (kind == 1) {
        g_string_append_printf(out, "icall 0x%" PRIx64 ", wbs = 0x%x",
                               dis->address + e2k_cs0_disp(parts->cs0), wbs);
    } else if (kind == 2) {
        g_string_append_printf(out, "hcall 0x%x, wbs = 0x%x", parts->cs0 >> 1 & 15, wbs);
    } else {
        g_string_append_printf(out, "illegal.call 0x%08x", parts->cs1);
        return;
    }
    if (e2k_ss_cond(parts->ss)) {
        print_condition(dis, parts->ss);
    }
}

static void print_flush(const E2kDisas *dis, uint32_t cs1, size_t start)
{
    static const char *const names[] = { "flushr", "flushc", "fillr", "fillc" };

    for (unsigned i = 0; i < (dis->isa >= 6 ? 4u : 2u); i++) {
        if (cs1 >> i & 1) {
            g_string_append(next_part(dis, start), names[i]);
        }
    }
}

static void print_cs1(const E2kDisas *dis, const E2kParts *parts, size_t start)
{
    uint32_t cs1 = parts->cs1;

    if (!e2k_hs_has_cs1(parts->hs)) {
        return;
    }
    switch (cs1 >> 28) {
    case E2K_CS1_SETR0:
    case E2K_CS1_SETR1:
    case E2K_CS1_SETBR:
        print_setr(dis, parts, start);
        break;
    case E2K_CS1_SETEI:
        if (cs1 >> 27 & 1) {
            g_string_append(next_part(dis, start), "setsft");
        } else {
            g_string_append_printf(next_part(dis, start), "setei 0x%x", cs1 & 0xff);
        }
        break;
    case E2K_CS1_WAIT:
        print_wait(dis, cs1, start);
        break;
    case E2K_CS1_CALL:
        print_call(dis, parts, start);
        break;
    case E2K_CS1_MAS:
        break;
    case E2K_CS1_FLUSH:
        print_flush(dis, cs1, start);
        break;
    case E2K_CS1_VFBG:
        g_string_append_printf(next_part(dis, start),
                               "vfbg umask = 0x%x, dmask = 0x%x, chkm4 = 0x%x", cs1 & 0xff,
                               cs1 >> 8 & 0xff, cs1 >> 16 & 1);
        break;
    default:
        g_string_append_printf(next_part(dis, start), "illegal.cs1 0x%08x", cs1);
        break;
    }
}

/* PLS ---------------------------------------------------------------------------------------- */

static void print_elp(const E2kDisas *dis, unsigned source, unsigned number, size_t start)
{
    GString *out = next_part(dis, start);

    g_string_append(out, "pass ");
    if ((source & 0x60) == 0x60) {
        g_string_append_printf(out, "%%pred%u", source & 31);
    } else if (source == 0x40) {
        g_string_append(out, "%bgrpred");
    } else if ((source & 0x70) == 0x40) {
        g_string_append_printf(out, "%%rndpred%u", source & 15);
    } else if (source == 0) {
        g_string_append(out, "%lcntex");
    } else if (source < 0x20) {
        g_string_append(out, "%spred");
        for (unsigned i = 0; i < 5; i++) {
            if (source >> i & 1) {
                g_string_append_printf(out, " %u", i);
            }
        }
    } else {
        g_string_append_printf(out, "<0x%02x>", source);
    }
    g_string_append_printf(out, ", @p%u", number);
}

static void print_clp(const E2kDisas *dis, unsigned clp, unsigned number, size_t start)
{
    static const char *const names[] = { "andp", "landp", "clp?", "movep" };

    g_string_append_printf(next_part(dis, start), "%s %s@p%u, %s@p%u, @p%u", names[clp >> 14],
                           clp >> 13 & 1 ? "~" : "", clp >> 10 & 7, clp >> 9 & 1 ? "~" : "",
                           clp >> 6 & 7, number);
    if (clp >> 5 & 1) {
        g_string_append_printf(next_part(dis, start), "pass @p%u, %%pred%u", number, clp & 31);
    }
}

/* Whether the CLP in any PLS of @parts has @p<number> as an input. */
static bool elp_is_used(const E2kParts *parts, unsigned number)
{
    for (unsigned i = 0; i < (parts->hs >> 18 & 3); i++) {
        unsigned clp = parts->pls[i] & 0xffff;

        if (clp && ((clp >> 10 & 7) == number || (clp >> 6 & 7) == number)) {
            return true;
        }
    }
    return false;
}

static void print_pls(const E2kDisas *dis, const E2kParts *parts, size_t start)
{
    for (int i = (parts->hs >> 18 & 3) - 1; i >= 0; i--) {
        uint32_t pls = parts->pls[i];

        for (int k = 0; k < 2 && i < 2; k++) {
            unsigned source = pls >> (k ? 16 : 24) & 0x7f;

            if (source || elp_is_used(parts, i * 2 + k)) {
                print_elp(dis, source, i * 2 + k, start);
            }
        }
        if (pls & 0xffff) {
            print_clp(dis, pls & 0xffff, 4 + i, start);
        }
    }
}

void e2k_disas(const E2kDisas *dis, const E2kParts *parts)
{
    size_t start = dis->out->len;

    if (e2k_hs_loop_mode(parts->hs)) {
        g_string_append(next_part(dis, start), "loop_mode");
    }
    if (e2k_hs_nop(parts->hs)) {
        g_string_append_printf(next_part(dis, start), "nop %u", e2k_hs_nop(parts->hs));
    }
    print_ss(dis, parts, start);
    print_channels(dis, parts, start);
    print_array_moves(dis, parts, start);
    print_cs0(dis, parts, start);
    print_cs1(dis, parts, start);
    print_pls(dis, parts, start);
    if (dis->out->len == start) {
        g_string_append(dis->out, "nop");
    }
}
