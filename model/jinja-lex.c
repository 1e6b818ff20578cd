/*
 * The lexer of the template language: text and tags to tokens, white space trimmed.
 *
 * Rules (those of the environment that published templates are written for): a newline right after
 * a block or comment tag goes away; white space between the start of a line and a block or comment
 * tag goes away; "-" at a tag's inner edge takes all white space on that side, "+" keeps it. One
 * newline at the very end of the source is dropped. Line ends are normalised to \n.
 */
#define _GNU_SOURCE /* memmem */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/jinja-ast.h"
#include "model/jinja-unicode.h"

enum { MAX_OPEN = 1000 }; /* brackets open at one time */

struct lexer {
	struct mdl_jparser *p;
	const char *s; // [n] normalised source
	size_t n, at;
	uint32_t line;
	bool line_start; /* the tag before this text took a newline with it */
	char open[MAX_OPEN];
	size_t n_open;
};

static int fail(struct lexer *x, const char *what)
{
	return lt_fail(x->p->err, LT_EFORMAT, "line %u: %s", x->line, what);
}

static int push(struct lexer *x, struct mdl_jtoken token)
{
	struct mdl_jparser *p = x->p;

	if (lt_reserve(&p->tokens, &p->cap_tokens, p->n_tokens + 1, sizeof(*p->tokens)) < 0)
		return lt_fail(p->err, LT_ENOMEM, "no memory for the template's tokens");
	token.line = x->line;
	p->tokens[p->n_tokens++] = token;
	return 0;
}

static void count_lines(struct lexer *x, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		x->line += x->s[i] == '\n';
}

/* Moves to `to`, counting lines. */
static void advance(struct lexer *x, size_t to)
{
	count_lines(x, x->at, to);
	x->at = to;
}

static bool here(const struct lexer *x, size_t at, const char *s)
{
	size_t n = strlen(s);

	return at + n <= x->n && memcmp(x->s + at, s, n) == 0;
}

/* After `end` of a tag's closing brackets: what trimming takes. '-': all white space, 0: one
 * newline if `block`. */
static size_t trim_after(const struct lexer *x, size_t end, char sign, bool block)
{
	if (sign == '-')
		return end + mdl_juni_space_prefix(x->s + end, x->n - end);
	if (sign == 0 && block && end < x->n && x->s[end] == '\n')
		return end + 1;
	return end;
}

/* Ends a tag at `to` (trimmed text included). */
static void leave_tag(struct lexer *x, size_t to)
{
	advance(x, to);
	x->line_start = to > 0 && x->s[to - 1] == '\n';
}

/* The text [from, to) before a tag with `sign`, as a token; moves to `to`. */
static int text_before(struct lexer *x, size_t from, size_t to, char sign, bool variable)
{
	size_t end = to, line_at;
	int rc = 0;

	if (sign == '-') {
		end = to - mdl_juni_space_suffix(x->s + from, to - from);
	} else if (sign != '+' && !variable) {
		for (line_at = to; line_at > from && x->s[line_at - 1] != '\n'; line_at--)
			;
		if ((line_at > from || x->line_start) &&
		    mdl_juni_space_prefix(x->s + line_at, to - line_at) == to - line_at)
			end = line_at;
	}
	if (end > from)
		rc = push(x, (struct mdl_jtoken){
				     .type = MDL_JT_DATA, .s = x->s + from, .n = end - from});
	advance(x, to);
	return rc;
}

static char sign_at(const struct lexer *x, size_t at)
{
	return at < x->n && (x->s[at] == '-' || x->s[at] == '+') ? x->s[at] : 0;
}

/* If "{%" at `at` is followed by the word `word` and a closing tag: where that ends (untrimmed) and
 * both signs. */
static bool word_tag(const struct lexer *x, size_t at, const char *word, char *before, char *after,
		     size_t *end)
{
	*before = sign_at(x, at + 2);
	at += 2 + (*before != 0);
	at += mdl_juni_space_prefix(x->s + at, x->n - at);
	if (!here(x, at, word))
		return false;
	at += strlen(word);
	at += mdl_juni_space_prefix(x->s + at, x->n - at);
	*after = sign_at(x, at);
	at += *after != 0;
	*end = at + 2;
	return here(x, at, "%}");
}

static int lex_raw(struct lexer *x, size_t tag_end, char after)
{
	size_t from, at, end;
	char before;
	int rc;

	from = trim_after(x, tag_end, after, false);
	leave_tag(x, from);
	for (at = from; at + 1 < x->n; at++) {
		if (!here(x, at, "{%") || !word_tag(x, at, "endraw", &before, &after, &end))
			continue;
		rc = text_before(x, from, at, before, false);
		leave_tag(x, trim_after(x, end, after, true));
		return rc;
	}
	return fail(x, "'raw' block without 'endraw'");
}

static int lex_comment(struct lexer *x)
{
	size_t from = x->at + 2 + (sign_at(x, x->at + 2) != 0);
	const char *end = from <= x->n ? memmem(x->s + from, x->n - from, "#}", 2) : NULL;
	size_t at;
	char sign;

	if (!end)
		return fail(x, "comment without end '#}'");
	at = (size_t)(end - x->s);
	sign = at > from ? sign_at(x, at - 1) : 0;
	leave_tag(x, trim_after(x, at + 2, sign, true));
	return 0;
}

/* --- inside a tag ------------------------------------------------------------------------------ */

/* Digits in `base` with single underscores between them, from `at`: where they end. */
static size_t digits(const struct lexer *x, size_t at, int base)
{
	size_t end = at;

	for (size_t i = at; i < x->n; i++) {
		char c = x->s[i] >= 'A' && x->s[i] <= 'Z' ? (char)(x->s[i] + 32) : x->s[i];
		int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;

		if (v < base)
			end = i + 1;
		else if (c != '_' || i == at || x->s[i - 1] == '_')
			break;
	}
	return end;
}

/* The number's text without underscores, NUL-terminated, in buf. */
static bool plain_number(const struct lexer *x, size_t from, size_t to, char *buf, size_t size)
{
	size_t n = 0;

	for (size_t i = from; i < to; i++) {
		if (x->s[i] == '_')
			continue;
		if (n + 1 >= size)
			return false;
		buf[n++] = x->s[i];
	}
	buf[n] = '\0';
	return true;
}

/* The end of a float at x->at, or 0 if what stands there is not one. */
static size_t float_end(const struct lexer *x)
{
	size_t at = digits(x, x->at, 10), end = 0;

	if (x->at > 0 && x->s[x->at - 1] == '.')
		return 0;
	if (at + 1 < x->n && x->s[at] == '.' && digits(x, at + 1, 10) > at + 1)
		end = at = digits(x, at + 1, 10);
	if (at < x->n && (x->s[at] == 'e' || x->s[at] == 'E')) {
		size_t e = at + 1 + (sign_at(x, at + 1) != 0);

		if (digits(x, e, 10) > e)
			end = digits(x, e, 10);
	}
	return end;
}

static int lex_number(struct lexer *x)
{
	struct mdl_jtoken token = {.type = MDL_JT_FLOAT};
	size_t from = x->at, end = float_end(x);
	char c = x->at + 1 < x->n ? (char)(x->s[x->at + 1] | 32) : 0;
	int base = x->s[x->at] != '0' ? 10 : c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
	char buf[400];

	if (end) {
		if (!plain_number(x, x->at, end, buf, sizeof(buf)))
			return fail(x, "number with too many digits");
		token.f = strtod(buf, NULL);
		x->at = end;
		return push(x, token);
	}
	token.type = MDL_JT_INT;
	if (base != 10 && digits(x, x->at + 2, base) > x->at + 2) {
		from += 2;
		end = digits(x, from, base);
	} else {
		base = 10;
		end = digits(x, from, x->s[from] == '0' ? 1 : 10);
	}
	if (!plain_number(x, from, end, buf, sizeof(buf)))
		return fail(x, "integer beyond 64 bits");
	errno = 0;
	token.i = strtoll(buf, NULL, base);
	if (errno == ERANGE)
		return fail(x, "integer beyond 64 bits");
	x->at = end;
	return push(x, token);
}

static bool word_char(const struct lexer *x, size_t at, size_t *len)
{
	uint32_t cp = mdl_juni_next(x->s + at, x->n - at, len);

	return cp == '_' || mdl_juni_is_alpha(cp) || mdl_juni_is_digit(cp);
}

static int lex_name(struct lexer *x)
{
	size_t end = x->at, len;

	while (end < x->n && word_char(x, end, &len))
		end += len;
	if (push(x, (struct mdl_jtoken){.type = MDL_JT_NAME, .s = x->s + x->at, .n = end - x->at}) <
	    0)
		return LT_ENOMEM;
	x->at = end;
	return 0;
}

/* Value of `want` hex digits at s (of n bytes), or -1. */
static int64_t hex_value(const char *s, size_t n, size_t want)
{
	int64_t v = 0;

	if (n < want)
		return -1;
	for (size_t i = 0; i < want; i++) {
		char c = (char)(s[i] | 32);

		if (s[i] >= '0' && s[i] <= '9')
			v = v * 16 + (s[i] - '0');
		else if (c >= 'a' && c <= 'f')
			v = v * 16 + (c - 'a' + 10);
		else
			return -1;
	}
	return v;
}

/* One escape after the backslash at s[0..n): writes to out, returns how many bytes of s it took
 * (0: malformed) and *len, the bytes written. */
static size_t unescape(const char *s, size_t n, char *out, size_t *len)
{
	static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
	const char *found = s[0] ? strchr(from, s[0]) : NULL;
	size_t want = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0, took;
	int64_t v;

	*len = 1;
	if (s[0] == '\n') {
		*len = 0;
		return 1;
	}
	if (found) {
		out[0] = to[found - from];
		return 1;
	}
	if (want) {
		v = hex_value(s + 1, n - 1, want);
		took = 1 + want;
	} else if (s[0] >= '0' && s[0] <= '7') {
		for (v = 0, took = 0; took < 3 && took < n && s[took] >= '0' && s[took] <= '7';
		     took++)
			v = v * 8 + (s[took] - '0');
	} else { /* not an escape: the backslash stays */
		out[0] = '\\';
		return s[0] == 'N' ? 0 : SIZE_MAX;
	}
	if (v < 0 || v > 0x10ffff)
		return 0;
	*len = lt_utf8_encode((uint32_t)v, out);
	if (*len == 0)
		*len = lt_utf8_encode(0xfffd, out);
	return took;
}

static int lex_string(struct lexer *x)
{
	char quote = x->s[x->at], *out;
	size_t end = x->at + 1, n = 0, len, took;

	while (end < x->n && x->s[end] != quote)
		end += x->s[end] == '\\' ? 2 : 1;
	if (end >= x->n)
		return fail(x, "string without closing quote");
	out = mdl_jarena_alloc(&x->p->t->arena, 1, end - x->at + 8);
	if (!out)
		return lt_fail(x->p->err, LT_ENOMEM, "no memory for a string of the template");
	for (size_t i = x->at + 1; i < end;) {
		if (x->s[i] != '\\') {
			out[n++] = x->s[i++];
			continue;
		}
		i++;
		took = unescape(x->s + i, end - i, out + n, &len);
		if (took == 0)
			return fail(x, x->s[i] == 'N' ? "\\N{...} in a string is not supported"
						      : "malformed escape in a string");
		n += len;
		i += took == SIZE_MAX ? 0 : took;
	}
	if (push(x, (struct mdl_jtoken){.type = MDL_JT_STRING, .s = out, .n = n}) < 0)
		return LT_ENOMEM;
	advance(x, end + 1);
	return 0;
}

/* Operators, longer ones first where one begins another. */
static const struct {
	const char *s;
	enum mdl_jtok type;
} operators[] = {
	{"//", MDL_JT_FLOORDIV}, {"**", MDL_JT_POW},	  {"==", MDL_JT_EQ},
	{"!=", MDL_JT_NE},	 {">=", MDL_JT_GE},	  {"<=", MDL_JT_LE},
	{"+", MDL_JT_ADD},	 {"-", MDL_JT_SUB},	  {"/", MDL_JT_DIV},
	{"*", MDL_JT_MUL},	 {"%", MDL_JT_MOD},	  {"~", MDL_JT_TILDE},
	{"[", MDL_JT_LBRACKET},	 {"]", MDL_JT_RBRACKET},  {"(", MDL_JT_LPAREN},
	{")", MDL_JT_RPAREN},	 {"{", MDL_JT_LBRACE},	  {"}", MDL_JT_RBRACE},
	{">", MDL_JT_GT},	 {"<", MDL_JT_LT},	  {"=", MDL_JT_ASSIGN},
	{".", MDL_JT_DOT},	 {":", MDL_JT_COLON},	  {"|", MDL_JT_PIPE},
	{",", MDL_JT_COMMA},	 {";", MDL_JT_SEMICOLON},
};

/* Brackets must close in the order they were opened; while any is open, "}}" and "%}" are not the
 * tag's end. */
static int balance(struct lexer *x, char c)
{
	char want;

	if (c == '(' || c == '[' || c == '{') {
		if (x->n_open == MAX_OPEN)
			return fail(x, "brackets nested more than 1000 deep");
		x->open[x->n_open++] = (char)(c == '(' ? ')' : c == '[' ? ']' : '}');
		return 0;
	}
	if (c != ')' && c != ']' && c != '}')
		return 0;
	if (x->n_open == 0)
		return lt_fail(x->p->err, LT_EFORMAT, "line %u: unexpected '%c'", x->line, c);
	want = x->open[--x->n_open];
	if (want != c)
		return lt_fail(x->p->err, LT_EFORMAT, "line %u: unexpected '%c', expected '%c'",
			       x->line, c, want);
	return 0;
}

static int lex_operator(struct lexer *x)
{
	char shown[5] = {0};
	size_t len;

	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
		if (!here(x, x->at, operators[i].s))
			continue;
		if (balance(x, operators[i].s[0]) < 0)
			return LT_EFORMAT;
		x->at += strlen(operators[i].s);
		return push(x, (struct mdl_jtoken){.type = operators[i].type});
	}
	mdl_juni_next(x->s + x->at, x->n - x->at, &len);
	memcpy(shown, x->s + x->at, len);
	return lt_fail(x->p->err, LT_EFORMAT, "line %u: unexpected character '%s' in a tag",
		       x->line, (unsigned char)shown[0] < 0x20 ? "\\?" : shown);
}

/* If the tag ends here: its end, trimmed, in *to. */
static bool tag_end(const struct lexer *x, bool block, size_t *to)
{
	const char *close = block ? "%}" : "}}";
	char sign = sign_at(x, x->at);

	if (x->n_open > 0 || (sign == '+' && !block))
		return false;
	if (!here(x, x->at + (sign != 0), close))
		return false;
	*to = trim_after(x, x->at + (sign != 0) + 2, sign, block);
	return true;
}

static int lex_token(struct lexer *x)
{
	char c = x->s[x->at];
	size_t len;

	if (c >= '0' && c <= '9')
		return lex_number(x);
	if (c == '"' || c == '\'')
		return lex_string(x);
	if (word_char(x, x->at, &len))
		return lex_name(x);
	return lex_operator(x);
}

static int lex_tag(struct lexer *x, bool block)
{
	size_t to;
	int rc =
		push(x, (struct mdl_jtoken){.type = block ? MDL_JT_BLOCK_BEGIN : MDL_JT_VAR_BEGIN});

	x->at += 2 + (sign_at(x, x->at + 2) != 0);
	x->n_open = 0;
	while (rc == 0 && x->at < x->n) {
		size_t space;

		if (tag_end(x, block, &to)) {
			rc = push(x, (struct mdl_jtoken){.type = block ? MDL_JT_BLOCK_END
								       : MDL_JT_VAR_END});
			leave_tag(x, to);
			return rc;
		}
		space = mdl_juni_space_prefix(x->s + x->at, x->n - x->at);
		if (space)
			advance(x, x->at + space);
		else
			rc = lex_token(x);
	}
	return rc;
}

/* --- text between tags ------------------------------------------------------------------------- */

static int lex_text(struct lexer *x)
{
	size_t at = x->at, end;
	char before, after;
	int rc;

	for (; at + 1 < x->n; at++) {
		if (x->s[at] == '{' &&
		    (x->s[at + 1] == '{' || x->s[at + 1] == '%' || x->s[at + 1] == '#'))
			break;
	}
	if (at + 1 >= x->n) {
		rc = push(x, (struct mdl_jtoken){
				     .type = MDL_JT_DATA, .s = x->s + x->at, .n = x->n - x->at});
		advance(x, x->n);
		return rc;
	}
	rc = text_before(x, x->at, at, sign_at(x, at + 2), x->s[at + 1] == '{');
	if (rc < 0)
		return rc;
	if (x->s[at + 1] == '#')
		return lex_comment(x);
	if (x->s[at + 1] == '%' && word_tag(x, at, "raw", &before, &after, &end) && after != '+')
		return lex_raw(x, end, after);
	return lex_tag(x, x->s[at + 1] == '%');
}

/* \r\n and \r become \n; one newline at the end is dropped. */
static int normalise(struct lexer *x, const char *source, size_t n)
{
	char *s = mdl_jarena_alloc(&x->p->t->arena, 1, n + 1);

	if (!s)
		return lt_fail(x->p->err, LT_ENOMEM, "no memory for the template");
	for (size_t i = 0; i < n; i++) {
		if (source[i] == '\r' && i + 1 < n && source[i + 1] == '\n')
			continue;
		s[x->n++] = source[i] == '\r' ? '\n' : source[i];
	}
	if (x->n > 0 && s[x->n - 1] == '\n')
		x->n--;
	s[x->n] = '\0';
	x->s = s;
	return 0;
}

int mdl_jlex(struct mdl_jparser *p, const char *source, size_t n)
{
	struct lexer x = {.p = p, .line = 1, .line_start = true};
	size_t bad;
	int rc;

	if (n > MDL_J_MAX_SOURCE)
		return lt_fail(p->err, LT_ETOOBIG,
			       "the template has %zu bytes; at most %d are allowed", n,
			       MDL_J_MAX_SOURCE);
	if (!lt_utf8_valid(source, n, &bad))
		return lt_fail(p->err, LT_EFORMAT, "the template is not valid UTF-8 at byte %zu",
			       bad);
	rc = normalise(&x, source, n);
	while (rc == 0 && x.at < x.n)
		rc = lex_text(&x);
	return rc < 0 ? rc : push(&x, (struct mdl_jtoken){.type = MDL_JT_EOF});
}
