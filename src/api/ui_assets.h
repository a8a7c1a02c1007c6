/* ui_assets.h - the inspector page as it was built into the program (ui/embed.sh makes it). */
#ifndef SBX_API_UI_ASSETS_H
#define SBX_API_UI_ASSETS_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct sbx_ui_asset {
    const char *path;         /* below /ui/; empty for the page itself */
    const char *content_type;
    const char *tag;          /* what its entity tags are made of */
    const unsigned char *gzip;
    size_t gzip_len;
    const unsigned char *plain; /* NULL: there is gzip only */
    size_t plain_len;
    bool immutable;           /* its path changes with its contents */
};

/* NULL when there is none. */
const struct sbx_ui_asset *sbx_ui_asset_find(struct sbx_str path);
bool sbx_ui_is_built_in(void);

#endif
