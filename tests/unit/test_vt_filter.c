/* test_vt_filter.c - the replay filter: which sequences go, which look-alikes stay, and that how
 * the input was cut into pieces never shows. Bytes are written in octal, since "\x1bc" is one
 * (too large) character to C: \033 ESC, \007 BEL, \005 ENQ, \302 and \2xx a C1 control in UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"
#include "proto/vt_filter.h"

struct bytes {
    const char *p;
    size_t n;
};

#define B(lit) {(lit), sizeof(lit) - 1}

static const struct bytes removed[] = {
    B("\005"),
    /* DECID */
    B("\033Z"),
    B("\302\232"),
    /* DA1, DA2, DA3 */
    B("\033[c"),
    B("\033[0c"),
    B("\302\233c"),
    B("\302\2330c"),
    B("\033[>c"),
    B("\033[>0c"),
    B("\033[=c"),
    B("\033[=0c"),
    /* DSR */
    B("\033[5n"),
    B("\033[6n"),
    B("\033[?6n"),
    B("\033[?15n"),
    B("\033[?25n"),
    B("\033[?62n"),
    B("\033[?63;1n"),
    B("\033[?996n"),
    B("\302\2336n"),
    /* DECREQTPARM, DECRQM */
    B("\033[x"),
    B("\033[0x"),
    B("\033[1x"),
    B("\033[4$p"),
    B("\033[?2026$p"),
    B("\033[?1;2$p"),
    /* XTVERSION, keyboard protocol, XTQMODKEYS, XTQFMTKEYS, XTSMGRAPHICS */
    B("\033[>q"),
    B("\033[>0q"),
    B("\033[?u"),
    B("\033[?4m"),
    B("\033[?1f"),
    B("\033[?2;1;0S"),
    /* DECRQPSR, DECRQTSR, DECRQUPSS, DECRQCRA, DECRQLP, DECRQDE */
    B("\033[1$w"),
    B("\033[2$w"),
    B("\033[1$u"),
    B("\033[2;2$u"),
    B("\033[&u"),
    B("\033[1;1;1;1;24;80*y"),
    B("\033['|"),
    B("\033[1'|"),
    B("\033[\"v"),
    B("\033[1\"v"),
    /* XTREPORTCOLORS, XTTITLEPOS, XTREPORTSGR */
    B("\033[#R"),
    B("\033[#S"),
    B("\033[1;1;1;1#|"),
    /* window reports */
    B("\033[11t"),
    B("\033[13t"),
    B("\033[13;2t"),
    B("\033[14t"),
    B("\033[14;2t"),
    B("\033[15t"),
    B("\033[16t"),
    B("\033[18t"),
    B("\033[19t"),
    B("\033[20t"),
    B("\033[21t"),
    B("\033[021t"),
    B("\302\23321t"),
    /* DECRQSS, XTGETTCAP, XTGETXRES */
    B("\033P$qm\033\\"),
    B("\033P$q q\302\234"),
    B("\302\220$q\"p\033\\"),
    B("\302\220$qr\302\234"),
    B("\033P+q544e\033\\"),
    B("\033P+q436f;6b75\033\\"),
    B("\033P+Q666f6e74\033\\"),
    B("\033P$q\033\\"),
    B("\033P0$qm\033\\"),
    /* colours */
    B("\033]4;1;?\007"),
    B("\033]4;1;?\033\\"),
    B("\033]4;1;?\302\234"),
    B("\302\2354;1;?\302\234"),
    B("\302\2354;1;?\007"),
    B("\033]4;0;?;1;?;2;?\007"),
    B("\033]4;1;?;2;rgb:00/00/00\007"),
    B("\033]4;1;rgb:00/00/00;2;?\007"),
    B("\033]5;0;?\007"),
    B("\033]10;?\007"),
    B("\033]11;?\007"),
    B("\033]011;?\007"),
    B("\033]11;?\033\\"),
    B("\033]10;?;?\007"),
    B("\033]10;red;?\007"),
    B("\033]10;\303\234 \342\234\234;?\007"),
    B("\033]12;?\007"),
    B("\033]13;?\007"),
    B("\033]14;?\007"),
    B("\033]15;?\007"),
    B("\033]16;?\007"),
    B("\033]17;?\007"),
    B("\033]18;?\007"),
    B("\033]19;?\007"),
    B("\033]21;foreground=?\033\\"),
    B("\033]21;background=#fff;cursor=?\033\\"),
    /* pointer shape, font, clipboard, what is allowed */
    B("\033]22;?__current__\033\\"),
    B("\033]22;?pointer,wait\033\\"),
    B("\033]50;?\007"),
    B("\033]50;?+1\007"),
    B("\033]52;c;?\007"),
    B("\033]52;;?\033\\"),
    B("\033]60\033\\"),
    B("\033]60;\033\\"),
    B("\033]61;allowWindowOps\033\\"),
    B("\033]62\007"),
    B("\033]1337;ReportCellSize\007"),
    B("\033]1337;ReportVariable=c2Vzc2lvbi5uYW1l\007"),
    B("\033]1337;Capabilities\033\\"),
    /* DEL is ignored inside of a sequence */
    B("\033[\1776n"),
    B("\033\177[c"),
};

static const struct bytes kept[] = {
    B(""),
    B("plain text, longer than a machine word\r\n\t\b\a"),
    B("\0"),
    /* SGR and cursor */
    B("\033[m"),
    B("\033[0m"),
    B("\033[1;31;48;5;17m"),
    B("\033[38:2::1:2:3m"),
    B("\302\23331m"),
    B("\033[>4;2m"),
    B("\033[>4m"),
    B("\033[H"),
    B("\033[2J"),
    B("\033[K"),
    B("\033[12;40H"),
    B("\033[12;40f"),
    B("\033[3S"),
    B("\033[s"),
    B("\033[u"),
    B("\0337"),
    B("\0338"),
    B("\033c"),
    B("\033[!p"),
    B("\033[61;1\"p"),
    B("\033[2 q"),
    B("\033[1\"q"),
    B("\033[1q"),
    B("\033[?1049h"),
    B("\033[?25l"),
    B("\033[4h"),
    B("\033[1;24r"),
    B("\033[?1r"),
    B("\033[?1s"),
    /* one character away from a query */
    B("\033[?6c"),
    B("\033[?1c"),
    B("\033[?17;0;64c"),
    B("\033[>4n"),
    B("\033[>n"),
    B("\033[?1x"),
    B("\033[65;1;1;24;80$x"),
    B("\033[2*x"),
    B("\033[>1u"),
    B("\033[<u"),
    B("\033[=1;1u"),
    B("\033[>2f"),
    B("\033[ c"),
    B("\033[?$w"),
    B("\033[1$v"),
    B("\033[80$|"),
    B("\033[24*|"),
    B("\033[1*z"),
    B("\033[#{"),
    B("\033[#}"),
    B("\033[#P"),
    B("\033[#Q"),
    B("\033['z"),
    B("\033[1#y"),
    B("\033[0 @"),
    B("\033[?>c"),
    B("\033[1?c"),
    B("\033[1?n"),
    B("\033[1>c"),
    B("\033[$$p"),
    B("\033[4$1p"),
    /* window operations that only act */
    B("\033[t"),
    B("\033[1t"),
    B("\033[2t"),
    B("\033[8;24;80t"),
    B("\033[;14t"),
    B("\033[9;1t"),
    B("\033[10;14t"),
    B("\033[12t"),
    B("\033[17t"),
    B("\033[22;0t"),
    B("\033[23;0t"),
    B("\033[114t"),
    B("\033[4294967310t"), /* 14 when 32 bits wrap */
    B("\033[99999999999999999999999914t"),
    B("\033[>2t"),
    B("\033[1;1;3;3;1$t"),
    /* escapes */
    B("\033(Z"),
    B("\033(B"),
    B("\033 F"),
    B("\033#8"),
    B("\033%G"),
    B("\033="),
    B("\033\\"),
    B("\033M"),
    B("\302\215"),
    B("\302\234"),
    /* titles and other strings */
    B("\033]0;title\007"),
    B("\033]2;title?\033\\"),
    B("\033]2;?\007"),
    B("\033]0;?\007"),
    B("\033];?\007"),
    B("\033]?\007"),
    B("\033]x;?\007"),
    B("\033]7;file://host/tmp?x=?\007"),
    B("\033]8;;https://example.org/?q=?\033\\link\033]8;;\033\\"),
    B("\033]8;id=1;http://example.org/a?b;?\033\\"),
    B("\033]4;1;rgb:11/22/33\007"),
    B("\033]4;1;rgb:11/22/?\007"),
    B("\033]4;1;??\007"),
    B("\033]4\007"),
    B("\033]4?\007"),
    B("\033]10;#ffffff\007"),
    B("\033]11;rgb:00/00/00\033\\"),
    B("\033]20;?\007"),
    B("\033]9;?\007"),
    B("\033]104;1\007"),
    B("\033]110\007"),
    B("\033]111;?\007"),
    B("\033]21;foreground=red\033\\"),
    B("\033]21;foreground?\033\\"),
    B("\033]10;x=?\007"),
    B("\033]22;pointer\033\\"),
    B("\033]22;>wait\033\\"),
    B("\033]50;#3\007"),
    B("\033]52;c;aGVsbG8=\007"),
    B("\033]52;c;aGVs?\007"),
    B("\033]600;?\007"),
    B("\033]4294967307;?\007"),
    B("\033]6;?\007"),
    B("\033]133;A\007"),
    B("\033]633;P;Cwd=/?\007"),
    B("\033]777;notify;title;?\007"),
    B("\033]1337;CurrentDir=/?\007"),
    B("\033]1337;ReportCellSize=10;20\007"),
    B("\033]1337;Capabilities=x\007"),
    B("\033]1337;SetMark\007"),
    B("\033]1337;ReportCellSiz\007"),
    B("\033]1337;ReportVariable\007"),
    B("\033]1337\007"),
    B("\033]1337;File=inline=1:aGVsbG8/\007"),
    /* UTF-8 in a title: the second byte of U+00DC and of U+271C is also that of U+009C */
    B("\033]0;\303\234ber \342\234\234 \360\237\230\200?\007"),
    B("\033]0;\302\251 \302\240?\007"),
    B("\302\2350;t\302\234"),
    /* DCS, SOS, PM, APC; BEL ends none of them */
    B("\033Pq\"1;1;10;10#0;2;0;0;0#0!10~-\033\\"),
    B("\033P0;1;0q$q+q?\033\\"),
    B("\302\220q~~\302\234"),
    B("\033P1$r0m\033\\"),
    B("\033P1$tx\033\\"),
    B("\033P=1s\033\\"),
    B("\033P>|text\033\\"),
    B("\033P1+r544e=78\033\\"),
    B("\033P+p78\033\\"),
    B("\033Pq\007\005\033\\"),
    B("\033_Gi=1,a=T;AAAA\033\\"),
    B("\033_$qm\033\\"),
    B("\033_11;?\007[c\033\\"),
    B("\033X]11;?\007\033\\"),
    B("\033^[c\033\\"),
    B("\302\236x\302\234"),
    B("\302\237x\302\234"),
    B("\302\230x\302\234"),
    /* ENQ in a string is not executed */
    B("\033]0;a\005b\007"),
    B("\033P\005q\033\\"),
    B("\033X\005\033\\"),
    B("\033^\005\033\\"),
    B("\033_\005\033\\"),
    B("\302\220\005\302\234"),
    B("\302\230\005\302\234"),
    B("\302\236\005\302\234"),
    B("\302\237\005\302\234"),
    B("\302\235\005\302\234"),
    /* text in UTF-8, and what is none */
    B("\302\251\302\240\303\251\342\202\254\360\237\230\200"),
    B("[c 6n ]11;? $q"),
    B("\303\233c"),
    B("\342\202\233c"),
    B("\377\376\200\233c\235\220"),
    B("\302c"),
    B("\302\302\251"),
    B("\302\377"),
    B("\302\302\302x"),
    /* an abandoned sequence is text to nobody, but it stays */
    B("\033[3\030"),
    B("\033[6\032n"),
    B("\033[\030c"),
    B("\033\030Z"),
    B("\033]11;?\030"),
    B("\033]11;?\032\007"),
    B("\033P$qm\030\033\\"),
    B("\033[3\033[31m"),
    B("\033\033[31m"),
    B("\033[6\377n"),
    B("\033[6\302\251n"),
    B("\033[6\342\202\254"),
    B("\033\377Z"),
    B("\033]11;?\302\205"),
    B("\033]0;t\033[31m"),
    B("\033]0;t\302\23331m"),
    B("\033Pq\033]0;t\007"),
    /* control characters in a sequence that stays */
    B("\033[3\r\n1m"),
    B("\033\a[\b31m"),
    B("\033[31\177m"),
    B("\033(\nB"),
};

struct change {
    struct bytes in, out;
};

static const struct change changes[] = {
    {B("$ \033[c\033[31mred\033[0m\033[6n\r\n"), B("$ \033[31mred\033[0m\r\n")},
    {B("a\033[5nb\302\233cc\005d\033Ze"), B("abcde")},
    /* executed in the middle of a query, so they stay */
    {B("\033[\r\n6n"), B("\r\n")},
    {B("\033[6\007n"), B("\007")},
    {B("\033\tZ"), B("\t")},
    {B("\033\n[\0c"), B("\n\0")},
    {B("\302\233\bc"), B("\b")},
    /* ignored in the middle of a string, so they go */
    {B("\033]11;\r\n?\007"), B("")},
    {B("\033]1\0001;?\033\\"), B("")},
    {B("\033P$\n\007qm\033\\"), B("")},
    /* BEL does not end a DCS */
    {B("\033P$qm\007text\033\\."), B(".")},
    /* ENQ in a sequence is executed, the sequence goes on */
    {B("\033[3\0051m"), B("\033[31m")},
    {B("\033\005[31m"), B("\033[31m")},
    {B("\033(\005B"), B("\033(B")},
    {B("\033[\0056n"), B("")},
    {B("\033]0;t\033\005[31m"), B("\033]0;t\033[31m")},
    /* what a query cuts short goes with it; else "ESC [ 3" would take the "1" for its own */
    {B("\033[3\033[c1m"), B("1m")},
    {B("\033[\033[c6n"), B("6n")},
    {B("\033\033[cc"), B("c")},
    {B("\033\033Zc"), B("c")},
    {B("\033[3\302\233c1m"), B("1m")},
    {B("\033[3\302\2321m"), B("1m")},
    {B("\033[3\n\033[\rc1m"), B("\n\r1m")},
    {B("\033(\033[cB"), B("B")},
    {B("\033[3\033[4\033[c1m"), B("1m")},
    {B("\033]0;title\033[ctext\007"), B("text\007")},
    {B("\033]0;title\302\232text"), B("text")},
    {B("\033]0;a\nb\033[ctext"), B("text")},
    {B("\033Pq#0\033]11;?\007text"), B("text")},
    {B("\033[3\033]11;?\033[31m"), B("\033[31m")},
    {B("\033[\n3\033P$qm\033\\x"), B("\nx")},
    {B("\302\005\233c"), B("\233c")},
    {B("\302\033[c\2336n"), B("\2336n")},
    {B("\302\302\232\233"), B("\233")},
    {B("\342\202\033[c\254"), B("\342\202\254")},
    /* a string that is cut short by something else is judged as it stands */
    {B("\033]11;?\033[31mx"), B("\033[31mx")},
    {B("\033]11;?\033]0;t\007"), B("\033]0;t\007")},
    {B("\033]11;?\033\nM"), B("\033\nM")},
    {B("\033]11;?\033\030"), B("\033\030")},
    {B("\033]11;?\302\23331m"), B("\302\23331m")},
    {B("\033]11;?\302\302\23331m"), B("\033]11;?\302\302\23331m")},
    {B("\033]4;1;?;\302\302\234x"), B("x")},
    {B("\033]11;?\302\302\234x"), B("\033]11;?\302\302\234x")},
    {B("\033P$qm\033[31m"), B("\033[31m")},
    {B("\033P$qm\033\005\\"), B("\033\\")},
    {B("\033]4;1;?\033\033\\"), B("\033\033\\")},
    /* a multiplexer's passthrough doubles ESC, and an emulator outside of it sees the query */
    {B("\033Ptmux;\033\033]11;?\007\033\\x"), B("\033\\x")},
    /* still open at the end: let through */
    {B("text\033"), B("text\033")},
    {B("text\033["), B("text\033[")},
    {B("text\033[6"), B("text\033[6")},
    {B("text\302"), B("text\302")},
    {B("\033[c\033]11;?"), B("\033]11;?")},
    {B("\033]11;?\033"), B("\033]11;?\033")},
    {B("\033]11;?\302"), B("\033]11;?\302")},
    {B("\033P$qm"), B("\033P$qm")},
    {B("\033[\005"), B("\033[")},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define ROOM 8192

static uint8_t text_in[ROOM], text_out[ROOM];

static void print_bytes(const char *what, const uint8_t *p, size_t n)
{
    size_t i;
    fprintf(stderr, "%s (%zu): ", what, n);
    for (i = 0; i < n && i < 200; i++)
        fprintf(stderr, p[i] > 0x20 && p[i] < 0x7f && p[i] != '\\' ? "%c" : "\\%03o", p[i]);
    fprintf(stderr, "\n");
}

/* Feeds in[0..n) in pieces that end at the given places; checks the promise on the length. */
static size_t filter(const uint8_t *in, const size_t *ends, size_t pieces, uint8_t *out)
{
    struct sbx_vt_filter f;
    size_t i, at = 0, w = 0;
    sbx_vt_filter_init(&f);
    for (i = 0; i < pieces; i++) {
        size_t n = ends[i] - at, held = f.held, got;
        uint8_t *copy = guard_copy(in + at, n);
        uint8_t *room = malloc(n + SBX_VT_FILTER_HOLD);
        assert_non_null(room);
        got = sbx_vt_filter_feed(&f, copy, n, room);
        assert_true(got + f.held <= n + held);
        memcpy(out + w, room, got);
        w += got;
        at = ends[i];
        free(room);
        guard_free(copy);
    }
    return w + sbx_vt_filter_finish(&f, out + w);
}

static void expect(const uint8_t *in, const size_t *ends, size_t pieces, const struct bytes *want)
{
    static uint8_t out[ROOM];
    size_t n = filter(in, ends, pieces, out);
    if (n == want->n && memcmp(out, want->p, n) == 0)
        return;
    print_bytes("in", in, ends[pieces - 1]);
    print_bytes("out", out, n);
    print_bytes("wanted", (const uint8_t *)want->p, want->n);
    fail_msg("%zu pieces, the first of %zu bytes", pieces, ends[0]);
}

/* At once, byte by byte, and cut in two at every place. */
static void check(const uint8_t *in, size_t n, const uint8_t *out, size_t out_n)
{
    const struct bytes want = {(const char *)out, out_n};
    static size_t each[ROOM];
    size_t i;
    expect(in, &n, 1, &want);
    for (i = 0; i <= n; i++) {
        size_t two[2] = {i, n};
        expect(in, two, 2, &want);
        each[i] = i;
    }
    expect(in, each, n + 1, &want);
}

static size_t put(uint8_t *to, size_t at, const void *p, size_t n)
{
    assert_true(at + n <= ROOM);
    if (n > 0)
        memcpy(to + at, p, n);
    return at + n;
}

static void test_removed(void **state)
{
    size_t i;
    (void)state;
    for (i = 0; i < COUNT(removed); i++) {
        size_t n = put(text_in, 0, "12", 2);
        n = put(text_in, n, removed[i].p, removed[i].n);
        n = put(text_in, n, "34", 2);
        check(text_in, n, (const uint8_t *)"1234", 4);
        check((const uint8_t *)removed[i].p, removed[i].n, (const uint8_t *)"", 0);
    }
}

static void test_kept(void **state)
{
    size_t i;
    (void)state;
    for (i = 0; i < COUNT(kept); i++) {
        size_t n = put(text_in, 0, "12", 2);
        n = put(text_in, n, kept[i].p, kept[i].n);
        n = put(text_in, n, "34", 2);
        check(text_in, n, text_in, n);
    }
}

static void test_changed(void **state)
{
    size_t i;
    (void)state;
    for (i = 0; i < COUNT(changes); i++)
        check((const uint8_t *)changes[i].in.p, changes[i].in.n, (const uint8_t *)changes[i].out.p,
              changes[i].out.n);
}

/* Every query between every two things that stay, at once: nothing carries over. */
static void test_neighbours(void **state)
{
    size_t k, r;
    (void)state;
    for (k = 0; k < COUNT(kept); k++) {
        for (r = 0; r < COUNT(removed); r++) {
            const struct bytes *a = &kept[k], *b = &kept[(k + r) % COUNT(kept)];
            size_t n = put(text_in, 0, a->p, a->n), m = put(text_out, 0, a->p, a->n);
            struct bytes want;
            n = put(text_in, put(text_in, n, ".", 1), removed[r].p, removed[r].n);
            n = put(text_in, put(text_in, n, ".", 1), b->p, b->n);
            m = put(text_out, put(text_out, m, "..", 2), b->p, b->n);
            want = (struct bytes){(const char *)text_out, m};
            expect(text_in, &n, 1, &want);
        }
    }
}

static void test_all_three_way_splits(void **state)
{
    static const char in[] = "a\302\233\n6n\033]11;?\033[1m"
                             "\033P$qm\033\\\302\251\033[\005c\302\232z";
    static const char out[] = "a\n\033[1m\302\251z";
    const struct bytes want = {out, sizeof out - 1};
    size_t i, j, n = sizeof in - 1;
    (void)state;
    for (i = 0; i <= n; i++) {
        for (j = i; j <= n; j++) {
            size_t three[3] = {i, j, n};
            expect((const uint8_t *)in, three, 3, &want);
        }
    }
}

/* Text runs are scanned by the word: each special byte at each offset of a word. */
static void test_text_alignment(void **state)
{
    static const struct bytes special[] = {B("\005"), B("\033Z"), B("\302\232")};
    size_t i, at;
    (void)state;
    for (i = 0; i < COUNT(special); i++) {
        for (at = 0; at < 40; at++) {
            size_t n = 0;
            memset(text_out, (int)('\004' + 2 * i), 40);
            n = put(text_in, 0, text_out, at);
            n = put(text_in, n, special[i].p, special[i].n);
            n = put(text_in, n, text_out, 40 - at);
            check(text_in, n, text_out, 40);
        }
    }
}

static void test_every_byte_alone_passes_but_enq(void **state)
{
    unsigned b;
    (void)state;
    for (b = 0; b < 256; b++) {
        uint8_t in = (uint8_t)b;
        check(&in, 1, &in, b == 5 ? 0 : 1);
    }
}

/* A query of n bytes in all: "OSC 4;1;?;2;xxx... ST". */
static size_t long_query(size_t n, uint8_t *to)
{
    size_t at = put(to, 0, "\033]4;1;?;2;", 10);
    memset(to + at, 'x', n - 12);
    return put(to, n - 2, "\033\\", 2);
}

static void test_longest_query(void **state)
{
    size_t n = long_query(SBX_VT_FILTER_HOLD, text_in);
    (void)state;
    assert_int_equal(n, SBX_VT_FILTER_HOLD);
    check(text_in, n, (const uint8_t *)"", 0);
}

static void test_too_long_passes_whole(void **state)
{
    size_t n = long_query(SBX_VT_FILTER_HOLD + 1, text_in);
    (void)state;
    check(text_in, n, text_in, n);
    /* ... and the filter works again behind it */
    put(text_out, 0, text_in, n);
    check(text_in, put(text_in, n, "\033[cb", 4), text_out, put(text_out, n, "b", 1));
}

static void test_long_image_then_query(void **state)
{
    size_t n = put(text_in, 0, "\033Pq", 3);
    (void)state;
    memset(text_in + n, '~', 2000);
    n = put(text_in, n + 2000, "\005\302\251\007\033\\", 6);
    put(text_out, 0, text_in, n);
    check(text_in, put(text_in, n, "\033[5n.", 5), text_out, put(text_out, n, ".", 1));
}

/* Without the query, the string that it ends would swallow the text. */
static void test_query_that_cuts_what_has_passed(void **state)
{
    size_t n = put(text_in, 0, "\033Pq", 3), whole;
    (void)state;
    memset(text_in + n, '~', 1000);
    n = whole = put(text_in, n + 1000, "\033[3\033[c", 6);
    n = put(text_in, n, "text\033[c", 7);
    put(text_out, 0, text_in, whole);
    check(text_in, n, text_out, put(text_out, whole, "text", 4));
}

static void test_long_csi(void **state)
{
    size_t n = put(text_in, 0, "\033[", 2);
    (void)state;
    memset(text_in + n, '0', 1000);
    n = put(text_in, n + 1000, "6n", 2);
    check(text_in, n, text_in, n);
}

static void test_finish_starts_anew(void **state)
{
    struct sbx_vt_filter f;
    uint8_t out[SBX_VT_FILTER_HOLD + 8];
    (void)state;
    sbx_vt_filter_init(&f);
    assert_int_equal(sbx_vt_filter_feed(&f, (const uint8_t *)"x\033[6", 4, out), 1);
    assert_int_equal(sbx_vt_filter_finish(&f, out), 3);
    assert_memory_equal(out, "\033[6", 3);
    assert_int_equal(sbx_vt_filter_finish(&f, out), 0);
    assert_int_equal(sbx_vt_filter_feed(&f, (const uint8_t *)"n", 1, out), 1);
    assert_int_equal(sbx_vt_filter_feed(&f, NULL, 0, out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_changed),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_all_three_way_splits),
        cmocka_unit_test(test_text_alignment),
        cmocka_unit_test(test_every_byte_alone_passes_but_enq),
        cmocka_unit_test(test_longest_query),
        cmocka_unit_test(test_too_long_passes_whole),
        cmocka_unit_test(test_long_image_then_query),
        cmocka_unit_test(test_query_that_cuts_what_has_passed),
        cmocka_unit_test(test_long_csi),
        cmocka_unit_test(test_finish_starts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
