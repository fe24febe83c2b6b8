/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <signal.h>
#include <sys/wait.h>

#include "qemu/daemon.h"
#include "qemu/error.h"

/* Main thread. */
static bool is_in_background;
static int parent_fd = -1;
static char *pidfile;
static int pidfile_fd = -1;

static void QEMU_NORETURN wait_for_child(int fd)
{
    char byte;
    ssize_t n;

    do {
        n = read(fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
    /* The child reported its error itself. */
    exit(n == 1 ? 0 : 1);
}

static void fill_std_streams(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR); /* the lowest number that is free */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
}

void daemon_prepare_process(void)
{
    fill_std_streams();
    signal(SIGXFSZ, SIG_IGN);
}

void daemon_fork(void)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        error_report("could not daemonize: %s", strerror(errno));
        exit(1);
    }
    if (pid > 0) {
        close(fds[1]);
        wait_for_child(fds[0]);
    }
    close(fds[0]);
    parent_fd = fds[1];
    is_in_background = true;
    setsid();
    /* A second time, so that opening a terminal never makes it ours. */
    pid = fork();
    if (pid != 0) {
        _exit(pid < 0 ? 1 : 0);
    }
    umask(027);
}

bool daemon_is_in_background(void)
{
    return is_in_background;
}

void daemon_ready(void)
{
    char byte = 0;
    int fd;

    if (parent_fd < 0) {
        return;
    }
    fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0 || chdir("/") < 0) {
        error_report("could not daemonize: %s", strerror(errno));
        exit(1);
    }
    dup2(fd, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    if (fd > STDERR_FILENO) {
        close(fd);
    }
    if (write(parent_fd, &byte, 1) != 1) {
        exit(1);
    }
    close(parent_fd);
    parent_fd = -1;
}

bool daemon_write_pidfile(const char *path, Error **errp)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());

    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot create PID file: Could not create '%s'", path);
        return false;
    }
    if (fcntl(fd, F_SETLK, &lock) < 0 || ftruncate(fd, 0) < 0 ||
        write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        error_setg_errno(errp, errno, "cannot write PID file '%s'", path);
        close(fd);
        return false;
    }
    pidfile_fd = fd;
    pidfile = g_canonicalize_filename(path, NULL);
    return true;
}

void daemon_remove_pidfile(void)
{
    if (pidfile) {
        unlink(pidfile);
        close(pidfile_fd);
        g_clear_pointer(&pidfile, g_free);
    }
}
