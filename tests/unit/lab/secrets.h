/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Secrets "keeper", "a" and "b" for labs with encrypted images. */
#ifndef TESTS_UNIT_LAB_SECRETS_H
#define TESTS_UNIT_LAB_SECRETS_H

#include "crypto/primitives.h"
#include "crypto/secret.h"
#include "qapi/user-object.h"

/** Make them; false: this build has no encryption. */
static inline bool lab_add_secrets(void)
{
    static const char *const names[] = { "keeper", "a", "b" };

    if (!crypto_available()) {
        return false;
    }
    crypto_secret_register_type();
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        g_autofree char *text = g_strdup_printf("secret,id=%s,data=password of %s", names[i],
                                                names[i]);

        g_assert_true(user_object_add_from_str(text, &error_abort));
    }
    return true;
}

/** The same where nothing goes without them: TAP is told. */
static inline bool lab_with_secrets(void)
{
    if (!lab_add_secrets()) {
        printf("1..0 # SKIP built without libgcrypt\n");
        return false;
    }
    return true;
}

#endif
