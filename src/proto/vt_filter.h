/* vt_filter.h - takes out of replayed terminal output what a terminal would answer.
 *
 * A viewer's terminal emulator replies to queries (DA, DSR, DECRQM, OSC colour queries ...) by
 * typing the answer into the shell. When old output is replayed to a new viewer, nobody is
 * waiting for those answers any more and they would land at the prompt as junk. The filter removes
 * exactly the control sequences that make an emulator answer, and nothing else: text, colours,
 * cursor movement, modes, titles, images pass byte for byte. Live output never goes through it.
 *
 * Removed (7-bit forms, and the UTF-8 encoded C1 forms U+0090, U+009A, U+009B, U+009D):
 *   ENQ; ESC Z and U+009A (DECID);
 *   CSI c, CSI > c, CSI = c (DA1-3); CSI n and CSI ? n (DSR, CPR, DECXCPR); CSI x (DECREQTPARM);
 *   CSI $ p and CSI ? $ p (DECRQM); CSI > q (XTVERSION); CSI ? u (keyboard protocol query);
 *   CSI ? m and CSI ? f (XTQMODKEYS, XTQFMTKEYS); CSI ? S (XTSMGRAPHICS);
 *   CSI $ w (DECRQPSR); CSI $ u (DECRQTSR); CSI & u (DECRQUPSS); CSI * y (DECRQCRA);
 *   CSI ' | (DECRQLP); CSI " v (DECRQDE); CSI # R, CSI # S, CSI # | (XTREPORT*);
 *   CSI t with first parameter 11, 13, 14, 15, 16, 18, 19, 20 or 21 (window reports);
 *   DCS $ q (DECRQSS), DCS + q (XTGETTCAP), DCS + Q (XTGETXRES), with their string;
 *   OSC 4, 5, 10-19, 21, 22, 50, 52 with a query ('?' as a whole parameter, "key=?" in 21, a
 *   parameter that begins with '?' in 22 and 50); OSC 60, 61, 62 (XTQALLOWED and its kin);
 *   OSC 1337 ReportCellSize / ReportVariable / Capabilities queries.
 * An unfinished sequence that a query cuts short goes with the query (vt_filter.c says why).
 * A sequence that is still open at the end of the replay is let through unchanged by
 * sbx_vt_filter_finish, since its end comes with live output. Strings longer than
 * SBX_VT_FILTER_HOLD pass unfiltered: no query is that long. */
#ifndef SBX_PROTO_VT_FILTER_H
#define SBX_PROTO_VT_FILTER_H

#include <stddef.h>
#include <stdint.h>

#define SBX_VT_FILTER_HOLD 512u

struct sbx_vt_filter {
    uint8_t state;                   /* an enum private to vt_filter.c */
    size_t held;                     /* bytes of the sequence that is being looked at */
    uint8_t hold[SBX_VT_FILTER_HOLD];
};

void sbx_vt_filter_init(struct sbx_vt_filter *f);
/* Filters n bytes of in to out (room for n + SBX_VT_FILTER_HOLD). Returns the length written. */
size_t sbx_vt_filter_feed(struct sbx_vt_filter *f, const uint8_t *in, size_t n, uint8_t *out);
/* Writes what is held back (at most SBX_VT_FILTER_HOLD bytes) and resets. */
size_t sbx_vt_filter_finish(struct sbx_vt_filter *f, uint8_t *out);

#endif
