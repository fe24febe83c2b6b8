/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes to JSON tokens.
 *
 * A byte that cannot continue the token at hand makes an error token of all since its start; what
 * follows is then skipped up to a structural character (which counts), a control character or
 * FE/FF, so that one error is reported once.
 */
#include "qemu/osdep.h"
#include "json-internal.h"

enum {
    LEX_START,
    LEX_RECOVERY,
    LEX_STRING,
    LEX_STRING_ESCAPE,
    LEX_KEYWORD,
    LEX_HOLE,
    LEX_MINUS,     /* a digit must follow */
    LEX_ZERO,      /* no digit may follow */
    LEX_DIGITS,
    LEX_POINT,     /* a digit must follow */
    LEX_FRACTION,
    LEX_E,         /* a sign or digit must follow */
    LEX_E_SIGN,    /* a digit must follow */
    LEX_EXPONENT,
};

/* What a byte does to a token. */
typedef enum Verdict {
    TAKE,   /* it belongs to the token */
    LAST,   /* and ends it */
    AFTER,  /* the token ended before it */
    WRONG,
} Verdict;

static bool is_structural(char c)
{
    return c && strchr("{}[]:,", c);
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20;
}

/* FE and FF are never part of UTF-8. */
static bool is_reset(char c)
{
    return (unsigned char)c >= 0xfe;
}

void json_lexer_init(JSONLexer *lexer, bool holes, JSONTokenFn *emit, void *opaque)
{
    *lexer = (JSONLexer) {
        .state = LEX_START,
        .holes = holes,
        .token = g_string_sized_new(64),
        .emit = emit,
        .opaque = opaque,
    };
}

void json_lexer_done(JSONLexer *lexer)
{
    g_string_free(lexer->token, TRUE);
}

static void emit(JSONLexer *lexer, JSONTokenType type, int next_state)
{
    lexer->state = next_state;
    lexer->emit(lexer->opaque, type, lexer->token->str, lexer->token->len);
    if (lexer->token->allocated_len > 64 * KiB) {
        g_string_free(lexer->token, TRUE);
        lexer->token = g_string_sized_new(64);
    }
    g_string_truncate(lexer->token, 0);
}

static JSONTokenType structural_type(char c)
{
    switch (c) {
    case '{':
        return JSON_LCURLY;
    case '}':
        return JSON_RCURLY;
    case '[':
        return JSON_LSQUARE;
    case ']':
        return JSON_RSQUARE;
    case ':':
        return JSON_COLON;
    default:
        return JSON_COMMA;
    }
}

static JSONTokenType token_type(int state)
{
    switch (state) {
    case LEX_STRING:
        return JSON_STRING;
    case LEX_KEYWORD:
        return JSON_KEYWORD;
    case LEX_HOLE:
        return JSON_HOLE;
    case LEX_ZERO:
    case LEX_DIGITS:
        return JSON_INTEGER;
    case LEX_FRACTION:
    case LEX_EXPONENT:
        return JSON_FLOAT;
    default:
        return JSON_ERROR;
    }
}

/* The first byte of a token: the state it leads to, or LEX_START if no token starts so. */
static int first_state(const JSONLexer *lexer, char c)
{
    if (c == '"' || c == '\'') {
        return LEX_STRING;
    } else if (c == '-') {
        return LEX_MINUS;
    } else if (c == '0') {
        return LEX_ZERO;
    } else if (g_ascii_isdigit(c)) {
        return LEX_DIGITS;
    } else if (g_ascii_islower(c)) {
        return LEX_KEYWORD;
    } else if (c == '%' && lexer->holes) {
        return LEX_HOLE;
    }
    return LEX_START;
}

static Verdict step_string(JSONLexer *lexer, char c)
{
    if (is_control(c) || is_reset(c)) {
        return WRONG;
    }
    if (lexer->state == LEX_STRING_ESCAPE) {
        lexer->state = LEX_STRING;
    } else if (c == '\\') {
        lexer->state = LEX_STRING_ESCAPE;
    } else if (c == lexer->quote) {
        return LAST;
    }
    return TAKE;
}

static Verdict step_number(JSONLexer *lexer, char c)
{
    bool digit = g_ascii_isdigit(c);

    switch (lexer->state) {
    case LEX_MINUS:
        lexer->state = c == '0' ? LEX_ZERO : LEX_DIGITS;
        return digit ? TAKE : WRONG;
    case LEX_POINT:
        lexer->state = LEX_FRACTION;
        return digit ? TAKE : WRONG;
    case LEX_E:
        lexer->state = digit ? LEX_EXPONENT : LEX_E_SIGN;
        return digit || c == '+' || c == '-' ? TAKE : WRONG;
    case LEX_E_SIGN:
        lexer->state = LEX_EXPONENT;
        return digit ? TAKE : WRONG;
    case LEX_ZERO:
        if (digit) {
            return WRONG;
        }
        break;
    default:
        if (digit) {
            return TAKE;
        }
        break;
    }
    /* A complete number so far. */
    if (c == '.' && (lexer->state == LEX_ZERO || lexer->state == LEX_DIGITS)) {
        lexer->state = LEX_POINT;
        return TAKE;
    }
    if ((c == 'e' || c == 'E') && lexer->state != LEX_EXPONENT) {
        lexer->state = LEX_E;
        return TAKE;
    }
    return AFTER;
}

static Verdict step(JSONLexer *lexer, char c)
{
    switch (lexer->state) {
    case LEX_STRING:
    case LEX_STRING_ESCAPE:
        return step_string(lexer, c);
    case LEX_KEYWORD:
        return g_ascii_islower(c) ? TAKE : AFTER;
    case LEX_HOLE:
        return c == 'l' ? TAKE : g_ascii_isalpha(c) ? LAST : WRONG;
    default:
        return step_number(lexer, c);
    }
}

/* Handle @c where no token is under way. */
static void start_token(JSONLexer *lexer, char c)
{
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        return;
    }
    g_string_append_c(lexer->token, c);
    if (is_structural(c)) {
        emit(lexer, structural_type(c), LEX_START);
        return;
    }
    lexer->state = first_state(lexer, c);
    lexer->quote = c;
    if (lexer->state == LEX_START) {
        emit(lexer, JSON_ERROR, is_reset(c) ? LEX_START : LEX_RECOVERY);
    }
}

static void lex_byte(JSONLexer *lexer, char c)
{
    if (lexer->state == LEX_RECOVERY) {
        if (is_control(c) || is_reset(c)) {
            lexer->state = LEX_START;
            return;
        }
        if (!is_structural(c)) {
            return;
        }
        lexer->state = LEX_START;
    }
    if (lexer->state == LEX_START) {
        start_token(lexer, c);
        return;
    }
    switch (step(lexer, c)) {
    case TAKE:
        g_string_append_c(lexer->token, c);
        if (lexer->token->len > JSON_MAX_VALUE_BYTES) {
            /* The stream refuses it for its size. */
            emit(lexer, JSON_ERROR, LEX_RECOVERY);
        }
        break;
    case LAST:
        g_string_append_c(lexer->token, c);
        emit(lexer, token_type(lexer->state), LEX_START);
        break;
    case AFTER:
        emit(lexer, token_type(lexer->state), LEX_START);
        start_token(lexer, c);
        break;
    case WRONG:
        g_string_append_c(lexer->token, c);
        emit(lexer, JSON_ERROR, is_control(c) || is_reset(c) ? LEX_START : LEX_RECOVERY);
        break;
    }
}

/* How many of the next bytes are plain characters of a string. */
static size_t plain_run(const JSONLexer *lexer, const char *buffer, size_t size)
{
    size_t room = JSON_MAX_VALUE_BYTES - lexer->token->len;
    size_t n = 0;

    size = MIN(size, room);
    while (n < size && buffer[n] != '\\' && buffer[n] != lexer->quote && !is_control(buffer[n])
           && !is_reset(buffer[n])) {
        n++;
    }
    return n;
}

void json_lexer_feed(JSONLexer *lexer, const char *buffer, size_t size)
{
    size_t i = 0;

    while (i < size) {
        if (lexer->state == LEX_STRING) {
            size_t n = plain_run(lexer, buffer + i, size - i);

            g_string_append_len(lexer->token, buffer + i, n);
            i += n;
            if (i == size) {
                break;
            }
        }
        lex_byte(lexer, buffer[i++]);
    }
}

void json_lexer_flush(JSONLexer *lexer)
{
    if (lexer->state == LEX_START || lexer->state == LEX_RECOVERY) {
        lexer->state = LEX_START;
        return;
    }
    emit(lexer, lexer->state == LEX_STRING || lexer->state == LEX_HOLE ? JSON_ERROR
                : token_type(lexer->state), LEX_START);
}
