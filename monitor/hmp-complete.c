/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What people may go on with: names of commands, and arguments by their types. */
#include "qemu/osdep.h"
#include "monitor-int.h"

static HMPCompleter *device_completer;
static GHashTable *completers; /* "NAME N", the command's first name -> HMPCompleter */

void hmp_set_completer(const char *command, unsigned n, HMPCompleter *completer)
{
    if (!command) {
        device_completer = completer;
        return;
    }
    if (!completers) {
        completers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    }
    g_hash_table_insert(completers, g_strdup_printf("%s %u", command, n), completer);
}

static HMPCompleter *completer_of(const HMPCommand *cmd, unsigned n)
{
    g_autofree char *key = g_strdup_printf("%.*s %u", (int)strcspn(cmd->name, "|"), cmd->name, n);

    return completers ? g_hash_table_lookup(completers, key) : NULL;
}

void hmp_add_choice(GPtrArray *words, const char *word, const char *prefix)
{
    if (g_str_has_prefix(word, prefix) &&
        !g_ptr_array_find_with_equal_func(words, word, g_str_equal, NULL)) {
        g_ptr_array_add(words, g_strdup(word));
    }
}

static void complete_file(GPtrArray *words, const char *prefix)
{
    const char *slash = strrchr(prefix, '/');
    g_autofree char *folder = slash ? g_strndup(prefix, slash - prefix + 1) : g_strdup("");
    GDir *dir = g_dir_open(*folder ? folder : ".", 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_strconcat(folder, name, NULL);
        bool is_folder = g_file_test(path, G_FILE_TEST_IS_DIR);
        g_autofree char *choice = g_strconcat(path, is_folder ? "/" : "", NULL);

        hmp_add_choice(words, choice, prefix);
    }
    g_clear_pointer(&dir, g_dir_close);
}

/* The type of argument number @n of "NAME:TYPE,...", flags not counted; '\0': there is none. */
static char type_of_argument(const char *args_type, unsigned n)
{
    g_auto(GStrv) args = g_strsplit(args_type, ",", 0);

    for (char **arg = args; *arg; arg++) {
        const char *type = strchr(*arg, ':');

        if (type && type[1] != '-' && n-- == 0) {
            return type[1];
        }
    }
    return '\0';
}

static void complete_argument(GPtrArray *words, const HMPCommand *cmd, const char *args)
{
    g_auto(GStrv) given = g_strsplit_set(args, " ", 0);
    g_autoptr(GPtrArray) before = g_ptr_array_new();
    HMPCompleter *completer;
    const char *prefix = "";

    /* The last one is what is to be completed; between two blanks there is an empty one. */
    for (char **word = given; *word; word++) {
        prefix = *word;
        if (word[1] && *prefix && *prefix != '-') {
            g_ptr_array_add(before, *word);
        }
    }
    completer = completer_of(cmd, before->len);
    if (completer) {
        completer(words, before, prefix);
        return;
    }
    switch (type_of_argument(cmd->args_type, before->len)) {
    case 'B':
        if (device_completer) {
            device_completer(words, before, prefix);
        }
        break;
    case 'F':
        complete_file(words, prefix);
        break;
    default:
        break;
    }
}

GPtrArray *hmp_complete(const char *text)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
    const HMPCommand *cmd;
    const char *args;

    text += strspn(text, " ");
    if (!strchr(text, ' ')) {
        hmp_add_command_names(words, false, text);
        return words;
    }
    cmd = hmp_find_command(text, &args);
    if (*args == '\0') {
        /* Only "info" leaves its last word to be completed. */
        hmp_add_command_names(words, true, strrchr(text, ' ') + 1);
    } else if (cmd) {
        complete_argument(words, cmd, args);
    }
    return words;
}
