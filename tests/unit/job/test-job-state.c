/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables of job states, cell by cell. */
#include "qemu/osdep.h"

#include "../../../block/job/job-int.h"
#include "../../lib/testlib.h"

/*
 * Columns: undefined created running paused ready standby waiting pending aborting concluded null.
 */
static const char *const next[JOB_STATUS__MAX] = {
    [JOB_STATUS_UNDEFINED] = ".x.........",
    [JOB_STATUS_CREATED]   = "..x.....x.x",
    [JOB_STATUS_RUNNING]   = "...xx.x.x..",
    [JOB_STATUS_PAUSED]    = "..x........",
    [JOB_STATUS_READY]     = ".....xx.x..",
    [JOB_STATUS_STANDBY]   = "....x......",
    [JOB_STATUS_WAITING]   = ".......xx..",
    [JOB_STATUS_PENDING]   = "........xx.",
    [JOB_STATUS_ABORTING]  = ".........x.",
    [JOB_STATUS_CONCLUDED] = "..........x",
    [JOB_STATUS_NULL]      = "...........",
};

static const char *const accepted[JOB_VERB__MAX] = {
    [JOB_VERB_CANCEL]    = ".xxxxxxx...",
    [JOB_VERB_PAUSE]     = ".xxxxx.....",
    [JOB_VERB_RESUME]    = ".xxxxx.....",
    [JOB_VERB_SET_SPEED] = ".xxxxx.....",
    [JOB_VERB_CHANGE]    = ".xxxxx.....",
    [JOB_VERB_COMPLETE]  = "....xx.....",
    [JOB_VERB_FINALIZE]  = ".......x...",
    [JOB_VERB_DISMISS]   = ".........x.",
};

/* One line of a table: marks under the statuses. */
static void print_row(const char *name, bool (*is_marked)(int row, int status), int row)
{
    printf("# %-10s", name);
    for (int status = 0; status < JOB_STATUS__MAX; status++) {
        printf(" %-*s", (int)strlen(JobStatus_str(status)), is_marked(row, status) ? "x" : ".");
    }
    printf("\n");
}

static void print_heading(const char *text)
{
    printf("# %-10s", text);
    for (int status = 0; status < JOB_STATUS__MAX; status++) {
        printf(" %s", JobStatus_str(status));
    }
    printf("\n");
}

static bool can_follow(int from, int to)
{
    return job_status_can_follow(from, to);
}

static bool is_accepted(int verb, int status)
{
    return job_verb_in_status(verb, status);
}

static void test_transitions(void)
{
    print_heading("to:");
    for (int from = 0; from < JOB_STATUS__MAX; from++) {
        print_row(JobStatus_str(from), can_follow, from);
    }
    for (int from = 0; from < JOB_STATUS__MAX; from++) {
        for (int to = 0; to < JOB_STATUS__MAX; to++) {
            g_test_message("%s -> %s", JobStatus_str(from), JobStatus_str(to));
            g_assert_cmpint(job_status_can_follow(from, to), ==, next[from][to] == 'x');
        }
    }
}

static void test_verbs(void)
{
    print_heading("in:");
    for (int verb = 0; verb < JOB_VERB__MAX; verb++) {
        print_row(job_verb_name(verb), is_accepted, verb);
    }
    for (int verb = 0; verb < JOB_VERB__MAX; verb++) {
        for (int status = 0; status < JOB_STATUS__MAX; status++) {
            g_test_message("%s in %s", job_verb_name(verb), JobStatus_str(status));
            g_assert_cmpint(job_verb_in_status(verb, status), ==, accepted[verb][status] == 'x');
        }
    }
}

static void test_refusal(void)
{
    for (int verb = 0; verb < JOB_VERB__MAX; verb++) {
        for (int status = 0; status < JOB_STATUS__MAX; status++) {
            Job job = { .id = (char *)"j", .status = status };
            Error *err = NULL;

            if (job_verb_allowed(&job, verb, &err)) {
                g_assert_null(err);
                continue;
            }
            g_autofree char *text = g_strdup_printf("Job 'j' in state '%s' cannot accept command "
                                                    "verb '%s'", JobStatus_str(status),
                                                    job_verb_name(verb));
            g_assert_cmpstr(error_get_pretty(err), ==, text);
            error_free(err);
        }
    }
    g_assert_cmpstr(job_verb_name(JOB_VERB_SET_SPEED), ==, "set-speed");
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/job-state/transitions/every-pair", test_transitions);
    g_test_add_func("/job-state/verbs/every-status", test_verbs);
    g_test_add_func("/job-state/verbs/refusal-names-both", test_refusal);
    return g_test_run();
}
