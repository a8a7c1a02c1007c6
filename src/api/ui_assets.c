/* ui_assets.c - see ui_assets.h. Where SBX_UI_ASSETS names the file that ui/embed.sh made
 * (-DSBX_UI_ASSETS='"build/ui/assets.h"'), the page is in the program; else the table is empty. */
#include "api/ui_assets.h"

#ifdef SBX_UI_ASSETS
#include SBX_UI_ASSETS
#else
static const struct sbx_ui_asset ui_assets_table[] = {{NULL, NULL, NULL, NULL, 0, NULL, 0, false}};
#endif

const struct sbx_ui_asset *sbx_ui_asset_find(struct sbx_str path)
{
    const struct sbx_ui_asset *a;
    for (a = ui_assets_table; a->path != NULL; a++)
        if (sbx_str_eq_z(path, a->path))
            return a;
    return NULL;
}

bool sbx_ui_is_built_in(void)
{
    return ui_assets_table[0].path != NULL;
}
