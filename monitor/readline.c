/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Line editing. */
#include "qemu/osdep.h"
#include "readline.h"

#define LINE_MAX_BYTES 4095
#define HISTORY_MAX 64

#define CTRL(key) ((key) & 0x1f)

struct ReadLine {
    char *prompt;
    ReadLinePrint *print;
    ReadLineComplete *complete;
    void *opaque;

    GString *line;
    size_t cursor;
    size_t shown_cursor;     /* where the terminal's cursor is, counted from the prompt */

    GPtrArray *history;      /* oldest first */
    guint history_at;        /* == len: the line being typed */
    char *typed;             /* that line, while an older one is shown */

    enum { PLAIN, ESCAPE, SEQUENCE } input;
    int parameter;           /* of an escape sequence */
};

ReadLine *readline_new(const char *prompt, ReadLinePrint *print, ReadLineComplete *complete,
                       void *opaque)
{
    ReadLine *rs = g_new0(ReadLine, 1);

    rs->prompt = g_strdup(prompt);
    rs->print = print;
    rs->complete = complete;
    rs->opaque = opaque;
    rs->line = g_string_new(NULL);
    rs->history = g_ptr_array_new_with_free_func(g_free);
    return rs;
}

void readline_free(ReadLine *rs)
{
    if (!rs) {
        return;
    }
    g_ptr_array_unref(rs->history);
    g_string_free(rs->line, TRUE);
    g_free(rs->typed);
    g_free(rs->prompt);
    g_free(rs);
}

/* ---- showing --------------------------------------------------------------------------------- */

/* Go back to the prompt, print the line over what is there, erase the rest, place the cursor. */
static void redraw(ReadLine *rs)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (size_t i = 0; i < rs->shown_cursor; i++) {
        g_string_append(text, "\033[D");
    }
    g_string_append_len(text, rs->line->str, rs->line->len);
    g_string_append(text, "\033[K");
    for (size_t i = rs->cursor; i < rs->line->len; i++) {
        g_string_append(text, "\033[D");
    }
    rs->shown_cursor = rs->cursor;
    rs->print(rs->opaque, text->str);
}

static void move_cursor(ReadLine *rs, size_t to)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (size_t i = to; i < rs->shown_cursor; i++) {
        g_string_append(text, "\033[D");
    }
    for (size_t i = rs->shown_cursor; i < to; i++) {
        g_string_append(text, "\033[C");
    }
    rs->cursor = rs->shown_cursor = to;
    rs->print(rs->opaque, text->str);
}

void readline_start(ReadLine *rs)
{
    g_string_truncate(rs->line, 0);
    rs->cursor = rs->shown_cursor = 0;
    rs->history_at = rs->history->len;
    rs->input = PLAIN;
    rs->print(rs->opaque, rs->prompt);
}

void readline_show_again(ReadLine *rs)
{
    rs->print(rs->opaque, "\n");
    rs->print(rs->opaque, rs->prompt);
    rs->shown_cursor = 0;
    redraw(rs);
}

/* ---- editing --------------------------------------------------------------------------------- */

static void insert_byte(ReadLine *rs, uint8_t byte)
{
    if (rs->line->len < LINE_MAX_BYTES) {
        g_string_insert_c(rs->line, rs->cursor++, byte);
        redraw(rs);
    }
}

static void erase(ReadLine *rs, size_t from, size_t to)
{
    if (from < to) {
        g_string_erase(rs->line, from, to - from);
        rs->cursor = from;
        redraw(rs);
    }
}

static size_t word_start(const ReadLine *rs)
{
    size_t at = rs->cursor;

    while (at && g_ascii_isspace(rs->line->str[at - 1])) {
        at--;
    }
    while (at && !g_ascii_isspace(rs->line->str[at - 1])) {
        at--;
    }
    return at;
}

static void set_line(ReadLine *rs, const char *text)
{
    g_string_assign(rs->line, text);
    rs->cursor = rs->line->len;
    redraw(rs);
}

/* ---- history --------------------------------------------------------------------------------- */

static void history_show(ReadLine *rs, guint index)
{
    if (rs->history_at == rs->history->len) {
        g_free(rs->typed);
        rs->typed = g_strdup(rs->line->str);
    }
    rs->history_at = index;
    set_line(rs, index == rs->history->len ? rs->typed : rs->history->pdata[index]);
}

static void history_up(ReadLine *rs)
{
    if (rs->history_at) {
        history_show(rs, rs->history_at - 1);
    }
}

static void history_down(ReadLine *rs)
{
    if (rs->history_at < rs->history->len) {
        history_show(rs, rs->history_at + 1);
    }
}

/* A line given again moves to the end. */
static void history_add(ReadLine *rs, const char *line)
{
    if (!*line) {
        return;
    }
    for (guint i = 0; i < rs->history->len; i++) {
        if (!strcmp(rs->history->pdata[i], line)) {
            g_ptr_array_remove_index(rs->history, i);
            break;
        }
    }
    if (rs->history->len == HISTORY_MAX) {
        g_ptr_array_remove_index(rs->history, 0);
    }
    g_ptr_array_add(rs->history, g_strdup(line));
}

/* ---- completion ------------------------------------------------------------------------------ */

static size_t common_prefix(const GPtrArray *words)
{
    const char *first = words->pdata[0];
    size_t len = strlen(first);

    for (guint i = 1; i < words->len; i++) {
        const char *word = words->pdata[i];
        size_t n = 0;

        while (n < len && word[n] == first[n]) {
            n++;
        }
        len = n;
    }
    return len;
}

static void show_choices(ReadLine *rs, const GPtrArray *words)
{
    g_autoptr(GString) text = g_string_new("\n");

    for (guint i = 0; i < words->len; i++) {
        bool ends_row = (i + 1) % 4 == 0 || i + 1 == words->len;

        g_string_append_printf(text, ends_row ? "%s\n" : "%-20s", (char *)words->pdata[i]);
    }
    rs->print(rs->opaque, text->str);
    rs->print(rs->opaque, rs->prompt);
    rs->shown_cursor = 0;
    redraw(rs);
}

static void complete(ReadLine *rs)
{
    g_autofree char *head = g_strndup(rs->line->str, rs->cursor);
    g_autoptr(GPtrArray) words = rs->complete ? rs->complete(rs->opaque, head) : NULL;
    bool is_new_word = rs->cursor && rs->line->str[rs->cursor - 1] == ' ';
    size_t typed = is_new_word ? 0 : rs->cursor - word_start(rs);
    size_t len;

    if (!words || !words->len) {
        return;
    }
    len = common_prefix(words);
    if (len > typed) {
        g_string_insert_len(rs->line, rs->cursor, (char *)words->pdata[0] + typed, len - typed);
        rs->cursor += len - typed;
    }
    if (words->len == 1 && !g_str_has_suffix(words->pdata[0], "/")) {
        g_string_insert_c(rs->line, rs->cursor++, ' ');
    }
    if (words->len > 1 && len == typed) {
        show_choices(rs, words);
    } else {
        redraw(rs);
    }
}

/* ---- input ----------------------------------------------------------------------------------- */

static void handle_final(ReadLine *rs, uint8_t byte)
{
    switch (byte) {
    case 'A':
        history_up(rs);
        break;
    case 'B':
        history_down(rs);
        break;
    case 'C':
        move_cursor(rs, MIN(rs->cursor + 1, rs->line->len));
        break;
    case 'D':
        move_cursor(rs, rs->cursor ? rs->cursor - 1 : 0);
        break;
    case 'H':
        move_cursor(rs, 0);
        break;
    case 'F':
        move_cursor(rs, rs->line->len);
        break;
    case '~':
        if (rs->parameter == 1 || rs->parameter == 7) {
            move_cursor(rs, 0);
        } else if (rs->parameter == 4 || rs->parameter == 8) {
            move_cursor(rs, rs->line->len);
        } else if (rs->parameter == 3 && rs->cursor < rs->line->len) {
            erase(rs, rs->cursor, rs->cursor + 1);
        }
        break;
    default:
        break;
    }
}

static void handle_sequence(ReadLine *rs, uint8_t byte)
{
    if (g_ascii_isdigit(byte)) {
        rs->parameter = MIN(rs->parameter * 10 + (byte - '0'), 1000);
    } else if (byte >= 0x40) {
        rs->input = PLAIN;
        handle_final(rs, byte);
    }
}

static char *finish_line(ReadLine *rs)
{
    char *line = g_strdup(rs->line->str);

    history_add(rs, line);
    rs->print(rs->opaque, "\n");
    return line;
}

static void handle_key(ReadLine *rs, uint8_t byte)
{
    switch (byte) {
    case CTRL('a'):
        move_cursor(rs, 0);
        break;
    case CTRL('b'):
        move_cursor(rs, rs->cursor ? rs->cursor - 1 : 0);
        break;
    case CTRL('d'):
        erase(rs, rs->cursor, MIN(rs->cursor + 1, rs->line->len));
        break;
    case CTRL('e'):
        move_cursor(rs, rs->line->len);
        break;
    case CTRL('f'):
        move_cursor(rs, MIN(rs->cursor + 1, rs->line->len));
        break;
    case CTRL('h'):
    case 0x7f:
        erase(rs, rs->cursor ? rs->cursor - 1 : 0, rs->cursor);
        break;
    case CTRL('i'):
        complete(rs);
        break;
    case CTRL('k'):
        erase(rs, rs->cursor, rs->line->len);
        break;
    case CTRL('n'):
        history_down(rs);
        break;
    case CTRL('p'):
        history_up(rs);
        break;
    case CTRL('u'):
        erase(rs, 0, rs->cursor);
        break;
    case CTRL('w'):
        erase(rs, word_start(rs), rs->cursor);
        break;
    case 0x1b:
        rs->input = ESCAPE;
        break;
    default:
        if (byte >= 0x20) {
            insert_byte(rs, byte);
        }
    }
}

char *readline_handle_byte(ReadLine *rs, uint8_t byte)
{
    if (rs->input == ESCAPE) {
        rs->input = byte == '[' || byte == 'O' ? SEQUENCE : PLAIN;
        rs->parameter = 0;
        return NULL;
    }
    if (rs->input == SEQUENCE) {
        handle_sequence(rs, byte);
        return NULL;
    }
    if (byte == '\r' || byte == '\n') {
        return finish_line(rs);
    }
    handle_key(rs, byte);
    return NULL;
}
