/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One terminal for several users: output of all, input to one, chosen by an escape key. */
#include "qemu/osdep.h"
#include "chardev-int.h"

#define ESCAPE_KEY 0x01 /* control-a */

static void (*exit_request)(void);

void chardev_set_exit_request(void (*request)(void))
{
    exit_request = request;
}

static void tell(CharFrontend *fe, ChrEvent event)
{
    if (fe && fe->handlers && fe->handlers->event) {
        fe->handlers->event(fe->opaque, event);
    }
}

void chardev_mux_set_focus(Chardev *chr, int index)
{
    if (index != chr->focus) {
        tell(chr->users[chr->focus], CHR_EVENT_MUX_OUT);
    }
    chr->focus = index;
    tell(chr->users[index], CHR_EVENT_MUX_IN);
}

static void focus_next(Chardev *chr)
{
    for (int i = 1; i < CHARDEV_MAX_USERS; i++) {
        int index = (chr->focus + i) % CHARDEV_MAX_USERS;

        if (chr->users[index] && chr->users[index]->handlers) {
            chardev_mux_set_focus(chr, index);
            return;
        }
    }
}

void chardev_mux_leave(Chardev *chr, int index)
{
    if (chr->focus == index) {
        focus_next(chr);
    }
}

static void print(Chardev *chr, const char *text)
{
    chardev_write(chr, text, strlen(text));
}

static void print_help(Chardev *chr)
{
    print(chr, "\r\n"
               "C-a h    print this help\r\n"
               "C-a x    exit\r\n"
               "C-a b    send break\r\n"
               "C-a c    switch between console and monitor\r\n"
               "C-a C-a  sends C-a\r\n");
}

static void pass_on(Chardev *chr, const uint8_t *buf, size_t size)
{
    CharFrontend *fe = chr->users[chr->focus];

    if (size && fe && fe->handlers && fe->handlers->receive) {
        fe->handlers->receive(fe->opaque, buf, size);
    }
}

static void carry_out(Chardev *chr, uint8_t key)
{
    switch (key) {
    case ESCAPE_KEY:
        pass_on(chr, &key, 1);
        break;
    case 'x':
        print(chr, "QEMU: Terminated\r\n");
        if (exit_request) {
            exit_request();
        }
        break;
    case 'b':
        tell(chr->users[chr->focus], CHR_EVENT_BREAK);
        break;
    case 'c':
        focus_next(chr);
        break;
    default:
        print_help(chr);
    }
}

void chardev_mux_receive(Chardev *chr, const uint8_t *buf, size_t size)
{
    size_t start = 0;

    for (size_t i = 0; i < size; i++) {
        if (chr->is_escaped) {
            chr->is_escaped = false;
            carry_out(chr, buf[i]);
            start = i + 1;
        } else if (buf[i] == ESCAPE_KEY) {
            pass_on(chr, buf + start, i - start);
            chr->is_escaped = true;
            start = i + 1;
        }
    }
    pass_on(chr, buf + start, size - start);
}
