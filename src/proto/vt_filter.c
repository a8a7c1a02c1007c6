/* vt_filter.c - the replay filter of vt_filter.h.
 *
 * Model: the bytes run through the state machine of a terminal emulator (ECMA-48, with the string
 * rules of xterm), reduced to what decides where a sequence begins and ends. Text goes straight
 * out. From ESC, or from C2, which may be the first byte of a C1 control in UTF-8, everything is
 * held back until the machine is back in the ground state; then the sequence is judged as a whole
 * and either let through unchanged or dropped.
 *
 *   GROUND --ESC--> ESCAPE --[--> CSI ---------final byte--------> judge
 *     |               | |---]--> OSC --BEL, ST, U+009C---------> judge
 *     |               | `-P X ^ _-> STR --ST, U+009C-----------> judge
 *     |               `-Z------------------------------------> judge
 *     `--C2--> LEAD --9B, 9D, 90 98 9E 9F, 9A--> CSI, OSC, STR, judge
 *
 * Invariants:
 * - The output has no byte that the input did not have, in the same order.
 * - The emulator is in the ground state before and after each removed part. So the bytes on both
 *   sides of it never join to a sequence that was not there: a sequence that a query cuts short
 *   ("ESC [ 3" followed by "ESC [ c") goes with that query, for without the ESC that ended it, it
 *   would swallow the text behind. The same holds for a stray C2, which could make a C1 control of
 *   a stray byte behind the query. Hence filtering twice is filtering once.
 * - Control characters inside a removed CSI or ESC sequence stay: the emulator executes them on
 *   the way. Those inside strings it ignores, and so they go with the string.
 * - What outgrows the hold is passed on (SBX_VT_PASS) until the ground state is reached again, with
 *   everything in it. That includes a query that cuts it short, for the reason above.
 *
 * A string that is ended by an ESC other than that of ST is complete to some emulators (xterm.js
 * executes it) and cancelled to others; a query among them is dropped either way. */
#include "proto/vt_filter.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum vt_state {
    SBX_VT_GROUND,
    SBX_VT_JUDGE, /* never rests here: the sequence is complete */
    SBX_VT_LEAD,  /* after C2, outside of strings */
    SBX_VT_ESCAPE,
    SBX_VT_ESCAPE_INTER, /* ESC and intermediate bytes: character sets and the like */
    SBX_VT_CSI,
    SBX_VT_OSC,
    SBX_VT_OSC_LEAD, /* after C2 in the string */
    SBX_VT_OSC_ESC,  /* after ESC in the string: ST, or the string is cut short */
    SBX_VT_STR,      /* DCS, SOS, PM, APC: as OSC, but BEL does not end them */
    SBX_VT_STR_LEAD,
    SBX_VT_STR_ESC
};

enum {
    SBX_VT_PASS = 0x80, /* beside the state: too long to be a query, nothing is held back */
    SBX_VT_ENQ = 0x05,
    SBX_VT_BEL = 0x07,
    SBX_VT_CAN = 0x18,
    SBX_VT_SUB = 0x1a,
    SBX_VT_ESC = 0x1b,
    SBX_VT_DEL = 0x7f,
    SBX_VT_C2 = 0xc2,
    SBX_VT_DECID = 0x9a, /* the C1 controls are given by their second byte in UTF-8 */
    SBX_VT_ST = 0x9c
};

/* What a sequence is made of besides its parameters: private marker, intermediate, final byte.
 * CSI t depends on its parameter and is judged by vt_is_window_report. */
static const char vt_csi_queries[][4] = {
    "c",  ">c",  "=c", "n",   "?n", "x",  "$p", "?$p", ">q", "?u", "?m",
    "?f", "?S",  "$w", "$u",  "&u", "*y", "'|", "\"v", "#R", "#S", "#|",
};

static const char *const vt_iterm_queries[] = {"ReportCellSize", "ReportVariable=", "Capabilities"};

/* ---- state machine: pure, so that what is held can be run through it once more ---- */

static bool vt_is_c1(uint8_t second)
{
    return second >= 0x80 && second < 0xa0;
}

/* What a C1 control begins; GROUND for those that begin nothing (and for what is none). */
static enum vt_state vt_step_c1(uint8_t second)
{
    switch (second) {
    case 0x9b:
        return SBX_VT_CSI;
    case 0x9d:
        return SBX_VT_OSC;
    case 0x90: /* DCS */
    case 0x98: /* SOS */
    case 0x9e: /* PM */
    case 0x9f: /* APC */
        return SBX_VT_STR;
    case SBX_VT_DECID:
        return SBX_VT_JUDGE;
    default:
        return SBX_VT_GROUND;
    }
}

static enum vt_state vt_step_escape(uint8_t b)
{
    switch (b) {
    case '[':
        return SBX_VT_CSI;
    case ']':
        return SBX_VT_OSC;
    case 'P':
    case 'X':
    case '^':
    case '_':
        return SBX_VT_STR;
    case 'Z':
        return SBX_VT_JUDGE;
    default:
        return b < 0x30 ? SBX_VT_ESCAPE_INTER : SBX_VT_GROUND;
    }
}

static enum vt_state vt_step_ground(uint8_t b)
{
    if (b == SBX_VT_ESC)
        return SBX_VT_ESCAPE;
    return b == SBX_VT_C2 ? SBX_VT_LEAD : SBX_VT_GROUND;
}

/* ESCAPE, ESCAPE_INTER and CSI. Control characters and DEL leave the state as it is. */
static enum vt_state vt_step_sequence(enum vt_state s, uint8_t b)
{
    if (b == SBX_VT_ESC || b == SBX_VT_CAN || b == SBX_VT_SUB || b >= 0x80)
        return vt_step_ground(b);
    if (b < 0x20 || b == SBX_VT_DEL)
        return s;
    if (s == SBX_VT_ESCAPE)
        return vt_step_escape(b);
    if (s == SBX_VT_ESCAPE_INTER)
        return b < 0x30 ? s : SBX_VT_GROUND;
    return b < 0x40 ? s : SBX_VT_JUDGE;
}

/* base is OSC or STR, followed in the enum by its LEAD and its ESC state. */
static enum vt_state vt_step_string(enum vt_state base, enum vt_state s, uint8_t b)
{
    enum vt_state lead = base + 1, esc = base + 2;
    if (s == esc)
        return b == '\\' ? SBX_VT_JUDGE : vt_step_sequence(SBX_VT_ESCAPE, b);
    if (s == lead && vt_is_c1(b))
        return b == SBX_VT_ST ? SBX_VT_JUDGE : vt_step_c1(b);
    if (b == SBX_VT_ESC)
        return esc;
    if (b == SBX_VT_C2)
        return lead;
    if (b == SBX_VT_CAN || b == SBX_VT_SUB)
        return SBX_VT_GROUND;
    return b == SBX_VT_BEL && base == SBX_VT_OSC ? SBX_VT_JUDGE : base;
}

static enum vt_state vt_step(enum vt_state s, uint8_t b)
{
    switch (s) {
    case SBX_VT_LEAD:
        return vt_is_c1(b) ? vt_step_c1(b) : vt_step_ground(b);
    case SBX_VT_ESCAPE:
    case SBX_VT_ESCAPE_INTER:
    case SBX_VT_CSI:
        return vt_step_sequence(s, b);
    case SBX_VT_OSC:
    case SBX_VT_OSC_LEAD:
    case SBX_VT_OSC_ESC:
        return vt_step_string(SBX_VT_OSC, s, b);
    case SBX_VT_STR:
    case SBX_VT_STR_LEAD:
    case SBX_VT_STR_ESC:
        return vt_step_string(SBX_VT_STR, s, b);
    default:
        assert(s == SBX_VT_GROUND);
        return vt_step_ground(b);
    }
}

/* In these states an emulator executes a control character at once. */
static bool vt_executes(enum vt_state s)
{
    return s == SBX_VT_ESCAPE || s == SBX_VT_ESCAPE_INTER || s == SBX_VT_CSI;
}

/* ---- is it a query? ---- */

/* The first parameter; 0 when there is none, and a number that nothing uses when it is too big. */
static unsigned vt_number(const uint8_t *p, size_t n)
{
    unsigned v = 0;
    size_t i;
    for (i = 0; i < n && p[i] >= '0' && p[i] <= '9'; i++)
        v = v < 100000 ? v * 10 + (unsigned)(p[i] - '0') : v;
    return v;
}

static bool vt_is_window_report(unsigned operation)
{
    switch (operation) {
    case 11:
    case 13:
    case 14:
    case 15:
    case 16:
    case 18:
    case 19:
    case 20:
    case 21:
        return true;
    default:
        return false;
    }
}

/* p[0..n): parameters up to and with the final byte. */
static bool vt_csi_is_query(const uint8_t *p, size_t n)
{
    char key[4] = {0};
    size_t i, k = 0, params;
    if (n > 0 && p[0] >= '<' && p[0] <= '?')
        key[k++] = (char)p[0];
    params = k;
    for (i = k; i < n && p[i] >= '0' && p[i] <= ';'; i++)
        continue;
    if (n - i < 1 || n - i > 2 || (n - i == 2 && (p[i] < 0x20 || p[i] > 0x2f)))
        return false;
    while (i < n)
        key[k++] = (char)p[i++];
    if (strcmp(key, "t") == 0)
        return vt_is_window_report(vt_number(p + params, n - params));
    for (i = 0; i < sizeof vt_csi_queries / sizeof vt_csi_queries[0]; i++)
        if (memcmp(key, vt_csi_queries[i], sizeof key) == 0)
            return true;
    return false;
}

static bool vt_dcs_is_query(const uint8_t *p, size_t n)
{
    while (n > 0 && *p >= '0' && *p <= ';') {
        p++;
        n--;
    }
    if (n < 2)
        return false;
    return p[0] == '$' ? p[1] == 'q' : p[0] == '+' && (p[1] == 'q' || p[1] == 'Q');
}

/* One parameter of an OSC that has a query form. */
static bool vt_osc_param_asks(unsigned command, const uint8_t *p, size_t n)
{
    if (n == 0)
        return false;
    if (command == 21 && n >= 2 && p[n - 2] == '=' && p[n - 1] == '?')
        return true;
    if (command == 22 || command == 50)
        return p[0] == '?';
    return n == 1 && p[0] == '?';
}

/* p[0..n): what follows "OSC number", which is ";" and a parameter, any number of times. */
static bool vt_osc_asks(unsigned command, const uint8_t *p, size_t n)
{
    while (n > 0 && *p == ';') {
        const uint8_t *end;
        size_t len;
        p++;
        n--;
        end = memchr(p, ';', n);
        len = end != NULL ? (size_t)(end - p) : n;
        if (vt_osc_param_asks(command, p, len))
            return true;
        p += len;
        n -= len;
    }
    return false;
}

static bool vt_iterm_asks(const uint8_t *p, size_t n)
{
    size_t i;
    if (n == 0 || *p != ';')
        return false;
    for (i = 0; i < sizeof vt_iterm_queries / sizeof vt_iterm_queries[0]; i++) {
        const char *q = vt_iterm_queries[i];
        size_t len = strlen(q);
        bool takes_value = q[len - 1] == '=';
        if (n - 1 >= len && memcmp(p + 1, q, len) == 0 && (takes_value || n - 1 == len))
            return true;
    }
    return false;
}

static bool vt_osc_is_query(const uint8_t *p, size_t n)
{
    unsigned command = vt_number(p, n);
    size_t digits = 0;
    while (digits < n && p[digits] >= '0' && p[digits] <= '9')
        digits++;
    if (digits == 0)
        return false;
    p += digits;
    n -= digits;
    switch (command) {
    case 4:
    case 5:
    case 21:
    case 22:
    case 50:
    case 52:
        return vt_osc_asks(command, p, n);
    case 60:
    case 61:
    case 62:
        return n == 0 || *p == ';';
    case 1337:
        return vt_iterm_asks(p, n);
    default:
        return command >= 10 && command <= 19 && vt_osc_asks(command, p, n);
    }
}

static size_t vt_terminator_len(const uint8_t *p, size_t n)
{
    if (p[n - 1] == SBX_VT_BEL)
        return 1;
    if (p[n - 2] == SBX_VT_ESC && p[n - 1] == '\\')
        return 2;
    return p[n - 2] == SBX_VT_C2 && p[n - 1] == SBX_VT_ST ? 2 : 0;
}

/* p[0..n): one sequence from its ESC or C2 on, at least two bytes; a string with or without its
 * terminator. It is judged without the control characters in it, as an emulator reads it. */
static bool vt_is_query(const uint8_t *p, size_t n)
{
    uint8_t body[SBX_VT_FILTER_HOLD];
    size_t i, end = n - vt_terminator_len(p, n), len = 0;
    for (i = 1; i < end; i++)
        if (p[i] >= 0x20 && p[i] != SBX_VT_DEL)
            body[len++] = p[i];
    assert(len >= 1);
    /* ECMA-48, 5.3: ESC and a letter stand for the C1 control 0x40 above the letter. */
    switch (p[0] == SBX_VT_C2 ? body[0] - 0x40 : body[0]) {
    case 'Z':
        return true;
    case '[':
        return vt_csi_is_query(body + 1, len - 1);
    case ']':
        return vt_osc_is_query(body + 1, len - 1);
    case 'P':
        return vt_dcs_is_query(body + 1, len - 1);
    default:
        return false;
    }
}

/* ---- what is held back ---- */

/* Where in hold[0..n) the last sequence begins; before it are those that were cut short. */
static size_t vt_last_start(const uint8_t *hold, size_t n)
{
    size_t i;
    for (i = n - 1; i-- > 0;) {
        if (hold[i] == SBX_VT_ESC && hold[i + 1] != '\\')
            return i;
        if (hold[i] == SBX_VT_C2 && vt_step_c1(hold[i + 1]) != SBX_VT_GROUND)
            return i;
    }
    return 0;
}

static size_t vt_flush(struct sbx_vt_filter *f, uint8_t *out)
{
    size_t n = f->held;
    memcpy(out, f->hold, n);
    f->held = 0;
    return n;
}

/* Drops the first n held bytes but for the control characters that were executed among them. */
static size_t vt_drop(struct sbx_vt_filter *f, size_t n, uint8_t *out)
{
    enum vt_state s = SBX_VT_GROUND;
    size_t i, w = 0;
    assert(n <= f->held);
    for (i = 0; i < n; i++) {
        uint8_t b = f->hold[i];
        s = vt_step(s, b);
        if (b < 0x20 && b != SBX_VT_ESC && vt_executes(s))
            out[w++] = b;
    }
    f->held -= n;
    memmove(f->hold, f->hold + n, f->held);
    return w;
}

/* The string that is held was ended by the last held byte, ESC or C2, which begins something
 * else: judge it without that byte. */
static size_t vt_cut(struct sbx_vt_filter *f, uint8_t *out)
{
    size_t n = f->held - 1, start = vt_last_start(f->hold, n);
    return vt_is_query(f->hold + start, n - start) ? vt_drop(f, n, out) : 0;
}

static size_t vt_judge(struct sbx_vt_filter *f, uint8_t *out)
{
    size_t start = vt_last_start(f->hold, f->held);
    if (vt_is_query(f->hold + start, f->held - start))
        return vt_drop(f, f->held, out);
    return vt_flush(f, out);
}

/* The state that a string is left for when b cuts it short; s when it does not. */
static enum vt_state vt_cut_state(enum vt_state s, uint8_t b)
{
    if ((s == SBX_VT_OSC_ESC || s == SBX_VT_STR_ESC) && b != '\\')
        return SBX_VT_ESCAPE;
    if ((s == SBX_VT_OSC_LEAD || s == SBX_VT_STR_LEAD) && vt_step_c1(b) != SBX_VT_GROUND)
        return SBX_VT_LEAD;
    return s;
}

/* ENQ outside of strings. Inside a sequence it is executed at once and the sequence goes on. */
static size_t vt_enquiry(struct sbx_vt_filter *f, enum vt_state s, uint8_t *out)
{
    if (s == SBX_VT_LEAD) {
        f->state = SBX_VT_GROUND;
        return vt_drop(f, f->held, out);
    }
    f->state = (uint8_t)s;
    return 0;
}

static size_t vt_pass(struct sbx_vt_filter *f, enum vt_state next, uint8_t b, uint8_t *out)
{
    size_t w = vt_flush(f, out);
    out[w++] = b;
    f->state = (uint8_t)(next <= SBX_VT_JUDGE ? SBX_VT_GROUND : SBX_VT_PASS | (int)next);
    return w;
}

static size_t vt_byte(struct sbx_vt_filter *f, uint8_t b, uint8_t *out)
{
    enum vt_state was = (enum vt_state)(f->state & ~SBX_VT_PASS), s, next;
    size_t w = 0;
    if (f->state & SBX_VT_PASS)
        return vt_pass(f, vt_step(was, b), b, out);
    s = vt_cut_state(was, b);
    if (s != was)
        w = vt_cut(f, out);
    if (b == SBX_VT_ENQ && s < SBX_VT_OSC)
        return w + vt_enquiry(f, s, out + w);
    next = vt_step(s, b);
    if (f->held == SBX_VT_FILTER_HOLD)
        return w + vt_pass(f, next, b, out + w);
    f->hold[f->held++] = b;
    f->state = (uint8_t)(next == SBX_VT_JUDGE ? SBX_VT_GROUND : next);
    if (next == SBX_VT_JUDGE)
        return w + vt_judge(f, out + w);
    return next == SBX_VT_GROUND ? w + vt_flush(f, out + w) : w;
}

/* ---- text ---- */

/* Has v a byte that is zero? Exact as a yes or no. */
static bool vt_has_zero(uint64_t v)
{
    return ((v - 0x0101010101010101u) & ~v & 0x8080808080808080u) != 0;
}

/* Does the word hold ESC, ENQ or C2? */
static bool vt_has_special(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101u;
    return vt_has_zero(v ^ (ones * SBX_VT_ESC)) || vt_has_zero(v ^ (ones * SBX_VT_ENQ)) ||
           vt_has_zero(v ^ (ones * SBX_VT_C2));
}

/* Length of the text at p, which is up to the first ESC, ENQ or C2. Eight bytes at a time: most of
 * a replay is text. */
static size_t vt_text_len(const uint8_t *p, size_t n)
{
    size_t i = 0;
    uint64_t v;
    for (; n - i >= sizeof v; i += sizeof v) {
        memcpy(&v, p + i, sizeof v);
        if (vt_has_special(v))
            break;
    }
    while (i < n && p[i] != SBX_VT_ESC && p[i] != SBX_VT_ENQ && p[i] != SBX_VT_C2)
        i++;
    return i;
}

/* Holds parameter and intermediate bytes of a CSI, which is most of what is not text: the short way
 * round vt_byte. Returns how many it took. */
static size_t vt_take_params(struct sbx_vt_filter *f, const uint8_t *p, size_t n)
{
    size_t i = 0;
    if (f->state != SBX_VT_CSI)
        return 0;
    if (n > SBX_VT_FILTER_HOLD - f->held)
        n = SBX_VT_FILTER_HOLD - f->held;
    while (i < n && p[i] >= 0x20 && p[i] < 0x40)
        f->hold[f->held++] = p[i++];
    return i;
}

void sbx_vt_filter_init(struct sbx_vt_filter *f)
{
    f->state = SBX_VT_GROUND;
    f->held = 0;
}

size_t sbx_vt_filter_feed(struct sbx_vt_filter *f, const uint8_t *in, size_t n, uint8_t *out)
{
    size_t i = 0, w = 0;
    while (i < n) {
        if (f->state == SBX_VT_GROUND) {
            size_t len = vt_text_len(in + i, n - i);
            memcpy(out + w, in + i, len);
            i += len;
            w += len;
        }
        i += vt_take_params(f, in + i, n - i);
        if (i < n)
            w += vt_byte(f, in[i++], out + w);
        assert(w <= n + SBX_VT_FILTER_HOLD);
        assert(f->state != SBX_VT_GROUND || f->held == 0);
    }
    return w;
}

size_t sbx_vt_filter_finish(struct sbx_vt_filter *f, uint8_t *out)
{
    size_t n = vt_flush(f, out);
    sbx_vt_filter_init(f);
    return n;
}
