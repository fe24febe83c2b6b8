/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conditions, predicate logic, transfers, loops, traps, interrupts, changed code. */
#include "qemu/osdep.h"

#include "qemu/main-loop.h"

#include "e2k-test.h"
#include "../../lib/testlib.h"

#define EXC(name) (UINT64_C(1) << E2K_EXC_##name)

/* Step one bundle at TEST_CODE, after setting up what the caller did; returns the exceptions. */
static uint64_t run_one(E2kCpu *cpu, const char *words)
{
    test_code(cpu, TEST_CODE, words);
    cpu->ip = TEST_CODE;
    test_steps(cpu, 1);
    return test_trap(cpu);
}

static bool is_taken(E2kCpu *cpu, unsigned cond, unsigned operand)
{
    g_autofree char *words = g_strdup_printf("00005012 %08x 00000010 00000000",
                                             cond << 5 | operand);

    g_assert_cmphex(run_one(cpu, words), ==, 0);
    g_assert_true(cpu->ip == TEST_CODE + 16 || cpu->ip == TEST_CODE + 0x80);
    return cpu->ip == TEST_CODE + 0x80;
}

static void set_lsr(E2kCpu *cpu, uint64_t lcnt, uint64_t ecnt, bool vlc, uint64_t pcnt)
{
    cpu->lsr = lcnt | ecnt << 32 | (uint64_t)vlc << 37 | pcnt << 48;
}

static void test_conditions(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    cpu->preds = 1 << 5;
    set_lsr(cpu, 5, 0, true, 0);
    g_assert_true(is_taken(cpu, 1, 0));
    g_assert_true(is_taken(cpu, 2, 5));
    g_assert_false(is_taken(cpu, 2, 4));
    g_assert_false(is_taken(cpu, 3, 5));
    g_assert_true(is_taken(cpu, 3, 4));
    g_assert_false(is_taken(cpu, 4, 0));
    g_assert_true(is_taken(cpu, 5, 0));
    g_assert_true(is_taken(cpu, 6, 5));
    g_assert_false(is_taken(cpu, 14, 5));
    g_assert_true(is_taken(cpu, 15, 5));
    g_assert_false(is_taken(cpu, 7, 5));
    /* before the prologue is over, predicates do not count */
    set_lsr(cpu, 5, 0, true, 1);
    g_assert_false(is_taken(cpu, 6, 5));
    g_assert_true(is_taken(cpu, 7, 5));
    g_assert_true(is_taken(cpu, 15, 4));
    /* the end of the loop */
    set_lsr(cpu, 1, 0, true, 0);
    g_assert_true(is_taken(cpu, 4, 0));
    g_assert_true(is_taken(cpu, 6, 4));
    g_assert_false(is_taken(cpu, 7, 4));
    set_lsr(cpu, 1, 1, true, 0);
    g_assert_false(is_taken(cpu, 4, 0));
    set_lsr(cpu, 1, 0, false, 0);
    g_assert_false(is_taken(cpu, 4, 0));
    test_cpu_free(cpu);
}

static void test_reserved_conditions(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    for (unsigned cond = 10; cond <= 13; cond++) {
        g_autofree char *words = g_strdup_printf("00005012 %08x 00000010 00000000", cond << 5);

        cpu->psp.ind = 0;
        cpu->pcsp.ind = 32;
        g_assert_cmphex(run_one(cpu, words), ==, EXC(ILLEGAL_OPCODE));
    }
    test_cpu_free(cpu);
}

static void test_predicate_logic(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    for (unsigned i = 0; i < 4; i++) {
        bool a = i & 1;
        bool b = i & 2;

        /* pass %pred0, @p0 ; pass %pred1, @p1 ; andp @p0, @p1, @p4 ; pass @p4, %pred5 */
        cpu->preds = i;
        run_one(cpu, "00040000 60610065");
        g_assert_cmpuint(cpu->preds >> 5 & 1, ==, a && b);
        /* landp ~@p0, @p1 of preds 3, 4 to 6 */
        cpu->preds = i << 3;
        run_one(cpu, "00040000 63646066");
        g_assert_cmpuint(cpu->preds >> 6 & 1, ==, !a && b);
        /* movep @p0, ~@p1 of preds 3, 4 to 6 */
        cpu->preds = i << 3 | 1 << 6;
        run_one(cpu, "00040000 6364c266");
        g_assert_cmpuint(cpu->preds >> 6 & 1, ==, a ? !b : 1);
        /* pred9 := (pred1 & pred2) & ~(~pred3 & pred4) */
        cpu->preds = i << 3 | 6;
        run_one(cpu, "000c0010 00001369 636428c0 61620040");
        g_assert_cmpuint(cpu->preds >> 9 & 1, ==, !(!a && b));
    }
    /* %lcntex */
    cpu->preds = 2;
    set_lsr(cpu, 0, 0, false, 0);
    run_one(cpu, "00040000 00610060");
    g_assert_cmphex(cpu->preds, ==, 3);
    set_lsr(cpu, 1, 0, false, 0);
    run_one(cpu, "00040000 00610060");
    g_assert_cmphex(cpu->preds, ==, 2);
    test_cpu_free(cpu);
}

static void test_predicate_logic_limits(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* CLP0 may not read @p4, CLP1 not @p5 */
    g_assert_cmphex(run_one(cpu, "00040000 60611065"), ==, EXC(ILLEGAL_OPCODE));
    g_assert_cmphex(run_one(cpu, "00080010 00000000 60611465 00000000"), ==, EXC(ILLEGAL_OPCODE));
    test_cpu_free(cpu);
}

static void test_predicates_rotate(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    cpu->psz = 3;
    cpu->pcur = 2;
    cpu->preds = 1 << 3 | 1 << 7;
    g_assert_true(is_taken(cpu, 2, 1)); /* (2 + 1) mod 4 */
    g_assert_false(is_taken(cpu, 2, 3));
    g_assert_true(is_taken(cpu, 2, 7)); /* beyond psz */
    test_cpu_free(cpu);
}

static void test_channel_conditions(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* addd,0 %r1, 5, %r1 ? %pcnt0 */
    cpu->reg[1] = 1;
    set_lsr(cpu, 0, 0, false, 1);
    run_one(cpu, "04010011 1181c581 00000000 04400000");
    g_assert_cmpuint(cpu->reg[1], ==, 1);
    set_lsr(cpu, 0, 0, false, 0);
    run_one(cpu, "04010011 1181c581 00000000 04400000");
    g_assert_cmpuint(cpu->reg[1], ==, 6);
    /* ... ? %pred2 and, or'ed with it, ~%pred3 */
    cpu->preds = 1 << 3;
    run_one(cpu, "04010011 1181c581 00000000 046204e3");
    g_assert_cmpuint(cpu->reg[1], ==, 6);
    cpu->preds = 1 << 3 | 1 << 2;
    run_one(cpu, "04010011 1181c581 00000000 046204e3");
    g_assert_cmpuint(cpu->reg[1], ==, 11);
    cpu->preds = 0;
    run_one(cpu, "04010011 1181c581 00000000 046204e3");
    g_assert_cmpuint(cpu->reg[1], ==, 16);
    /* a channel that does not execute does not trap: ldd of nowhere ? %pred0 */
    cpu->reg[1] = UINT64_C(0x8000000000);
    g_assert_cmphex(run_one(cpu, "04010011 6781c081 00000000 04600000"), ==, 0);
    cpu->preds = 1;
    g_assert_cmphex(run_one(cpu, "04010011 6781c081 00000000 04600000"), ==, EXC(DATA_PAGE));
    test_cpu_free(cpu);
}

static void test_old_state_is_read(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* addd,0 %r1, 0, %r0 ; addd,1 %r0, 0, %r1: an exchange */
    cpu->reg[0] = 10;
    cpu->reg[1] = 11;
    run_one(cpu, "0c000012 1181c080 1180c081 00000000");
    g_assert_cmpuint(cpu->reg[0], ==, 11);
    g_assert_cmpuint(cpu->reg[1], ==, 10);
    /* a fault in a later channel keeps the earlier one's result back */
    cpu->reg[1] = UINT64_C(0x8000000000);
    g_assert_cmphex(run_one(cpu, "14000012 1180c580 6781c081 00000000"), ==, EXC(DATA_PAGE));
    g_assert_cmphex(cpu->tir_hi >> 44 & 63, ==, 4);
    run_one(cpu, DONE);
    test_cpu_free(cpu);
}

static void test_ctpr_tags(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    g_assert_cmphex(run_one(cpu, CT_CTPR1), ==, EXC(ILLEGAL_OPCODE));
    cpu->ctpr[1] = 0x2000 | (uint64_t)E2K_TAG_DISP << 54;
    g_assert_cmphex(run_one(cpu, CT_CTPR1), ==, 0);
    g_assert_cmphex(cpu->ip, ==, 0x2000);
    /* an address of prefetched code is not a jump target */
    cpu->ctpr[1] = 0x2000 | (uint64_t)E2K_TAG_DISP << 54 | UINT64_C(1) << 57;
    g_assert_cmphex(run_one(cpu, CT_CTPR1), ==, EXC(ILLEGAL_OPCODE));
    /* movtd %r2, %ctpr1 */
    cpu->reg[2] = 0x3000;
    test_op(cpu, TEST_CODE, 0, 0x61c082d1);
    cpu->wsize = 16;
    cpu->ip = TEST_CODE;
    test_steps(cpu, 1);
    g_assert_cmphex(run_one(cpu, CT_CTPR1), ==, 0);
    g_assert_cmphex(cpu->ip, ==, 0x3000);
    test_cpu_free(cpu);
}

static void test_misaligned_jump(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    cpu->ctpr[1] = 0x2004 | (uint64_t)E2K_TAG_DISP << 54;
    run_one(cpu, CT_CTPR1);
    test_steps(cpu, 1);
    g_assert_cmphex(test_trap(cpu), ==, EXC(ILLEGAL_INSTR_ADDR));
    cpu->ctpr[1] = 0x7000000000 | (uint64_t)E2K_TAG_DISP << 54;
    run_one(cpu, CT_CTPR1);
    test_steps(cpu, 1);
    g_assert_cmphex(test_trap(cpu), ==, EXC(INSTR_PAGE_MISS));
    test_cpu_free(cpu);
}

static void test_loop(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* { addd,0 %r1, 5, %r1 ; ct %ctpr1 ? %NOT_LOOP_END ; alc alcf=1, alct=1 } */
    test_code(cpu, TEST_CODE, "04001001 c00304a0 1181c581 00000000");
    test_code(cpu, TEST_CODE, "04001012 c00304a0 1181c581 00000000");
    cpu->ctpr[1] = TEST_CODE | (uint64_t)E2K_TAG_DISP << 54;
    cpu->reg[1] = 0;
    set_lsr(cpu, 7, 0, true, 0);
    for (unsigned i = 0; i < 7; i++) {
        g_assert_cmphex(cpu->ip, ==, TEST_CODE);
        test_steps(cpu, 1);
    }
    g_assert_cmphex(cpu->ip, ==, TEST_CODE + 16);
    g_assert_cmpuint(cpu->reg[1], ==, 35);
    g_assert_cmpuint((uint32_t)cpu->lsr, ==, 0);
    test_cpu_free(cpu);
}

static void test_loop_stores(void)
{
    static const struct {
        unsigned lcnt, pcnt, strmd;
        bool is_stored;
        unsigned strmd_after;
    } cases[] = {
        { 5, 1, 3, false, 3 }, /* prologue */
        { 5, 0, 3, true, 3 },
        { 1, 0, 1, true, 0 }, /* at the end, stores remain */
        { 1, 0, 0, false, 0 },
    };
    E2kCpu *cpu = test_cpu_new("e8c");

    /* { loop_mode ; std,2 %r0, 0, %r1 } */
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint64_t value;

        mem_store(cpu->vcpu.mem, 0x20000, 8, 0);
        cpu->reg[0] = 0x20000;
        cpu->reg[1] = 4711;
        set_lsr(cpu, cases[i].lcnt, 0, true, cases[i].pcnt);
        cpu->lsr |= (uint64_t)cases[i].strmd << 53;
        g_assert_cmphex(run_one(cpu, "10000401 2780c081"), ==, 0);
        mem_load(cpu->vcpu.mem, 0x20000, 8, &value);
        g_assert_cmpuint(value, ==, cases[i].is_stored ? 4711 : 0);
        g_assert_cmpuint(cpu->lsr >> 53 & 127, ==, cases[i].strmd_after);
    }
    test_cpu_free(cpu);
}

static void test_rotation_stubs(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    e2k_set_br(cpu, 2 | 3 << 6 | 1 << 12 | 5 << 18 | 0 << 23);
    run_one(cpu, "00001001 c0600000"); /* abn always */
    g_assert_cmpuint(cpu->rcur, ==, 0);
    run_one(cpu, "00001001 c0600000");
    g_assert_cmpuint(cpu->rcur, ==, 3);
    run_one(cpu, "00001001 c0200000"); /* only when taken */
    g_assert_cmpuint(cpu->rcur, ==, 3);
    run_one(cpu, "00001001 c00c0000"); /* abp always */
    g_assert_cmpuint(cpu->pcur, ==, 5);
    test_cpu_free(cpu);
}

static void test_trap_and_done(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    for (unsigned i = 0; i < 16; i++) {
        cpu->reg[i] = 100 + i;
    }
    cpu->preds = 0x1234;
    cpu->psr = E2K_PSR_PM | E2K_PSR_IE;
    /* sdivd of channel 5 by zero: %r0, 0, %r1 */
    test_op(cpu, TEST_CODE, 5, 0x4380c081);
    test_code(cpu, TEST_HANDLER, SETWD_8 " " DONE);
    test_steps(cpu, 1);
    g_assert_cmphex(test_trap(cpu), ==, EXC(DIV));
    g_assert_cmphex(cpu->tir_lo, ==, TEST_CODE);
    g_assert_cmpuint(cpu->tir_hi >> 44 & 63, ==, 1 << 5);
    g_assert_cmphex(cpu->cr.cr0_hi, ==, TEST_CODE);
    g_assert_cmphex(cpu->psr, ==, E2K_PSR_PM);
    g_assert_cmpuint(cpu->wsize, ==, 0);
    test_steps(cpu, 2);
    g_assert_cmphex(cpu->ip, ==, TEST_CODE);
    g_assert_cmphex(cpu->psr, ==, E2K_PSR_PM | E2K_PSR_IE);
    g_assert_cmphex(cpu->preds, ==, 0x1234);
    g_assert_cmpuint(cpu->wsize, ==, 16);
    for (unsigned i = 0; i < 16; i++) {
        g_assert_cmpuint(cpu->reg[i], ==, 100 + i);
    }
    test_cpu_free(cpu);
}

static void test_privilege(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    cpu->psr = 0;
    g_assert_cmphex(run_one(cpu, DONE), ==, EXC(PRIV_ACTION));
    cpu->psr = 0;
    /* rwd,0 %dr5, %ctpr1 */
    cpu->wsize = 16;
    g_assert_cmphex(run_one(cpu, "04100011 3dc08515 01c00000 00000000"), ==, EXC(PRIV_ACTION));
    cpu->psr = 0;
    cpu->wsize = 16;
    /* rwd %dr5, %ip and a number that does not exist */
    g_assert_cmphex(run_one(cpu, "04100011 3dc08581 01c00000 00000000"), ==, EXC(ILLEGAL_OPCODE));
    cpu->wsize = 16;
    g_assert_cmphex(run_one(cpu, "04100011 3dc085ff 01c00000 00000000"), ==, EXC(ILLEGAL_OPCODE));
    test_cpu_free(cpu);
}

static void test_illegal_bundles(void)
{
    static const char *const bundles[] = {
        "04000000 11c08080",                   /* words do not add up */
        "04000001 ffc08080",                   /* no such operation */
        "04000001 1181de81",                   /* literal that is not there */
        "00008001 00000000",                   /* setwd without its literal */
        "00008011 00000000 00000000 00000fe0", /* setwd of 127 */
        "00008001 90000000",                   /* CS1 9 */
        "00004001 00000000",                   /* ibranch without a condition */
        "00005012 c0000420 00000000 00000000", /* ibranch together with ct */
        "00001001 d0000000",                   /* array prefetch program */
        "30000012 27c08281 6782c080 00000000", /* store in 2 with load in 3 */
        "84000012 6782c080 27c08281 00000000", /* load in 0 with store in 5 */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(bundles); i++) {
        E2kCpu *cpu = test_cpu_new("e8c");

        g_test_message("%s", bundles[i]);
        g_assert_cmphex(run_one(cpu, bundles[i]), ==, EXC(ILLEGAL_OPCODE));
        test_cpu_free(cpu);
    }
}

static void test_versions(void)
{
    E2kCpu *old = test_cpu_new("e2c+");
    E2kCpu *new = test_cpu_new("e8c");
    const char *rrd_idr = "04100011 3f8ac083 01c00000 00000000";

    g_assert_cmphex(run_one(old, rrd_idr), ==, EXC(ILLEGAL_OPCODE));
    g_assert_cmphex(run_one(new, rrd_idr), ==, 0);
    g_assert_cmpuint(new->reg[3] & 0xff, ==, 7);
    test_cpu_free(old);
    test_cpu_free(new);
}

static void test_fatal(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* a trap without a handler */
    cpu->special[E2K_SR_OSCUD_HI] = 0;
    test_code(cpu, TEST_CODE, "04000001 ffc08080");
    g_assert_false(e2k_step(cpu));
    test_cpu_free(cpu);

    cpu = test_cpu_new("e8c");
    test_code(cpu, TEST_CODE, "04000001 ffc08080");
    cpu->psp.size = 64;
    g_assert_false(e2k_step(cpu));
    test_cpu_free(cpu);

    cpu = test_cpu_new("e8c");
    cpu->psize = 0;
    test_code(cpu, TEST_CODE, RETURN_CTPR3 " " CT_CTPR3);
    test_steps(cpu, 1);
    g_assert_false(e2k_step(cpu));
    test_cpu_free(cpu);
}

static void test_interrupt(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* the handler waits: an endless loop would never come back */
    test_code(cpu, TEST_HANDLER, "00005012 c0000020 00000000 00000000");
    test_code(cpu, TEST_CODE, NOP " " NOP " 00005012 c0000020 0ffffffe 00000000");
    cpu->vcpu.pending = VCPU_INTERRUPT;
    cpu->psr = E2K_PSR_PM | E2K_PSR_IE | E2K_PSR_UIE;
    e2k_update_poll(cpu);
    g_assert_cmphex(cpu->poll_mask & VCPU_INTERRUPT, ==, 0);
    /* rws,0 _f32s 0xa1, %upsr: fe, ie, nmie */
    g_assert_cmphex(run_one(cpu, "04100011 3cc0d880 01c00000 000000a1"), ==, 0);
    g_assert_cmphex(cpu->poll_mask & VCPU_INTERRUPT, ==, VCPU_INTERRUPT);
    g_assert_true(e2k_take_interrupts(cpu));
    g_assert_cmphex(test_trap(cpu), ==, EXC(INTERRUPT));
    g_assert_cmphex(cpu->cr.cr0_hi, ==, TEST_CODE + 16);
    g_assert_cmphex(cpu->poll_mask & VCPU_INTERRUPT, ==, 0);
    test_cpu_free(cpu);
}

static void test_wait(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    cpu->psr = E2K_PSR_PM | E2K_PSR_IE;
    e2k_update_poll(cpu);
    test_code(cpu, TEST_CODE, "00008001 30000040");
    cpu->vcpu.ops->run(&cpu->vcpu);
    g_assert_true(cpu->vcpu.is_halted);
    g_assert_cmphex(cpu->ip, ==, TEST_CODE + 8);
    test_cpu_free(cpu);
}

static void test_changed_code(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* std %r2 to the next bundle, which sets %r1; then jump back */
    cpu->reg[1] = 0;
    cpu->reg[3] = TEST_CODE + 8;
    test_op(cpu, TEST_CODE, 2, 0x2783c082);
    test_op(cpu, TEST_CODE + 8, 0, 0x1181c581); /* addd %r1, 5, %r1 */
    test_code(cpu, TEST_CODE + 16, "00005012 c0000020 0ffffffe 00000000");
    mem_load(cpu->vcpu.mem, TEST_CODE + 8, 8, &cpu->reg[2]);
    test_steps(cpu, 6);
    g_assert_cmpuint(cpu->reg[1], ==, 10);
    cpu->reg[2] ^= UINT64_C(0x200) << 32; /* addd %r1, 7, %r1 */
    test_steps(cpu, 3);
    g_assert_cmpuint(cpu->reg[1], ==, 17);
    /* the same through the machine, as a device would */
    test_op(cpu, TEST_CODE, 0, 0x61c082d1);
    test_op(cpu, TEST_CODE + 8, 0, 0x1181c181);
    test_steps(cpu, 3);
    g_assert_cmpuint(cpu->reg[1], ==, 18);
    test_cpu_free(cpu);
}

static void test_cache_overflow(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* more bundles than the cache holds, several times the same way */
    cpu->reg[1] = 0;
    for (uint64_t addr = 0x10000; addr < 0x10000 + 70000 * 8; addr += 8) {
        mem_store(cpu->vcpu.mem, addr, 8, UINT64_C(0x1181c18104000001));
    }
    for (unsigned i = 0; i < 2; i++) {
        cpu->ip = 0x10000;
        test_steps(cpu, 70000);
    }
    g_assert_cmpuint(cpu->reg[1], ==, 140000);
    test_cpu_free(cpu);
}

static void test_dump(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");
    g_autoptr(GString) text = g_string_new(NULL);

    cpu->reg[5] = 0x123456789abcdef0;
    cpu->vcpu.ops->dump(&cpu->vcpu, text);
    g_assert_nonnull(strstr(text->str, "IP    0000000000001000"));
    g_assert_nonnull(strstr(text->str, "%r5   123456789abcdef0"));
    test_cpu_free(cpu);
}

static void test_models(void)
{
    MemoryMap *mem = memory_map_new("memory", false);
    Error *err = NULL;

    g_assert_null(e2k_cpu_type.create("e4k", NULL, mem, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "CPU model 'e4k' not found");
    error_free(err);
    err = NULL;
    g_assert_null(e2k_cpu_type.create("e8c", "x=y,z", mem, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "CPU model 'e8c' has no property 'x'");
    error_free(err);
    memory_map_free(mem);
}

/* Every recorded bundle, on registers with random contents, must do no more than trap. */
static void run_recorded(E2kCpu *cpu, const char *words, unsigned *n_traps)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(cpu->reg); i++) {
        cpu->reg[i] = (uint64_t)g_test_rand_int() << (g_test_rand_int() & 32);
    }
    for (unsigned i = 1; i <= 3; i++) {
        cpu->ctpr[i] = (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
    }
    cpu->cr.cr1_lo = (uint64_t)g_test_rand_int() << 32;
    cpu->preds = g_test_rand_int();
    cpu->lsr = g_test_rand_int() & 0xff;
    e2k_set_br(cpu, g_test_rand_int());
    cpu->psr = E2K_PSR_PM;
    cpu->psp = (E2kStack) { .lo = TEST_PSP, .size = 0x10000, .ind = 0x1000 };
    cpu->pcsp = (E2kStack) { .lo = TEST_PCSP, .size = 0x1000, .ind = 0x80 };
    cpu->wsize = 128;
    cpu->psize = g_test_rand_int() & 126;
    cpu->special[E2K_SR_OSCUD_LO] = TEST_HANDLER;
    cpu->special[E2K_SR_OSCUD_HI] = UINT64_C(0xffffffff) << 32;
    test_code(cpu, TEST_CODE, words);
    cpu->ip = TEST_CODE;
    e2k_step(cpu);
    *n_traps += test_trap(cpu) != 0;
    g_assert_cmpuint(cpu->wsize, <=, E2K_WINDOW_REGS);
    g_assert_cmpuint(cpu->psize, <=, cpu->wsize);
    e2k_step(cpu);
}

static void test_recorded_code(void)
{
    static const char *const models[] = { [2] = "e2c+", [4] = "e8c", [5] = "e8c2", [6] = "e16c" };
    g_auto(GStrv) lines = e2k_vectors_load("vectors.tsv.gz");
    unsigned n_traps = 0;
    unsigned n = 0;

    for (unsigned isa = 2; isa <= 6; isa++) {
        E2kCpu *cpu = models[isa] ? test_cpu_new(models[isa]) : NULL;

        for (char **line = lines; cpu && *line; line++) {
            g_auto(GStrv) field = g_strsplit(*line, "\t", 5);

            if (**line == 'v' && (unsigned)(*line)[1] - '0' == isa) {
                run_recorded(cpu, field[3], &n_traps);
                n++;
            }
        }
        if (cpu) {
            test_cpu_free(cpu);
        }
    }
    g_test_message("%u of %u bundles trapped", n_traps, n);
    g_assert_cmpuint(n, ==, 4718);
}

int main(int argc, char **argv)
{
    Error *err = NULL;

    test_init(&argc, &argv);
    /* a CPU that gives up asks the main loop for a reset */
    g_assert_true(qemu_init_main_loop(&err));
    g_test_add_func("/ctrl/condition/types", test_conditions);
    g_test_add_func("/ctrl/condition/reserved-traps", test_reserved_conditions);
    g_test_add_func("/ctrl/predicates/logic", test_predicate_logic);
    g_test_add_func("/ctrl/predicates/too-deep-traps", test_predicate_logic_limits);
    g_test_add_func("/ctrl/predicates/rotate", test_predicates_rotate);
    g_test_add_func("/ctrl/channel/conditions", test_channel_conditions);
    g_test_add_func("/ctrl/channel/reads-the-state-before-the-bundle", test_old_state_is_read);
    g_test_add_func("/ctrl/transfer/needs-a-prepared-ctpr", test_ctpr_tags);
    g_test_add_func("/ctrl/transfer/bad-target-traps", test_misaligned_jump);
    g_test_add_func("/ctrl/loop/counts", test_loop);
    g_test_add_func("/ctrl/loop/stores-outside-the-kernel-vanish", test_loop_stores);
    g_test_add_func("/ctrl/loop/stubs-rotate", test_rotation_stubs);
    g_test_add_func("/ctrl/trap/enters-and-done-resumes", test_trap_and_done);
    g_test_add_func("/ctrl/trap/privilege", test_privilege);
    g_test_add_func("/ctrl/trap/illegal-bundles", test_illegal_bundles);
    g_test_add_func("/ctrl/trap/undeliverable-ends-the-run", test_fatal);
    g_test_add_func("/ctrl/trap/recorded-code-only-traps", test_recorded_code);
    g_test_add_func("/ctrl/interrupt/is-taken-when-enabled", test_interrupt);
    g_test_add_func("/ctrl/interrupt/wait-halts", test_wait);
    g_test_add_func("/ctrl/code/changes-are-seen", test_changed_code);
    g_test_add_func("/ctrl/code/cache-overflow-is-harmless", test_cache_overflow);
    g_test_add_func("/ctrl/cpu/versions-differ", test_versions);
    g_test_add_func("/ctrl/cpu/dump", test_dump);
    g_test_add_func("/ctrl/cpu/unknown-models-are-refused", test_models);
    return g_test_run();
}
