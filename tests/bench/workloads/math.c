/*
 * math.c - workloads that compute something: numbers of many digits, and the minimisation
 * of logic. What they allocate follows from the data, and the results are proved.
 */
#include "workloads.h"

/* A block of the program's own kind, not one of take(): counted only. */
static void *get(struct worker *w, size_t size)
{
	void *ptr = malloc(size);

	if (!ptr)
		fail("malloc gave nothing");
	w->taken++;
	return ptr;
}

static void put(struct worker *w, void *ptr)
{
	if (!ptr)
		return;
	w->given++;
	w->ops++;
	free(ptr);
}

/* ---- cfrac -------------------------------------------------------------------------------
 * Expands the square root of a number N of 60 digits into a continued fraction, the first part of
 * the factorisation of Morrison and Brillhart, with a new block for each intermediate number.
 * Every step is proved: A^2 = (-1)^k Q (mod N).
 */

/* n limbs, the least one first; the last is not 0. */
struct big {
	unsigned n;
	uint32_t limb[];
};

static struct big *big_new(struct worker *w, unsigned n)
{
	struct big *x = get(w, sizeof(*x) + n * sizeof(x->limb[0]));

	x->n = n;
	memset(x->limb, 0, n * sizeof(x->limb[0]));
	return x;
}

static struct big *trim(struct big *x)
{
	while (x->n && !x->limb[x->n - 1])
		x->n--;
	return x;
}

static int compare(const struct big *a, const struct big *b)
{
	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	for (unsigned i = a->n; i--;)
		if (a->limb[i] != b->limb[i])
			return a->limb[i] < b->limb[i] ? -1 : 1;
	return 0;
}

static struct big *small(struct worker *w, uint32_t value)
{
	struct big *x = big_new(w, 1);

	x->limb[0] = value;
	return trim(x);
}

static struct big *add(struct worker *w, const struct big *a, const struct big *b)
{
	unsigned n = (a->n > b->n ? a->n : b->n) + 1;
	struct big *sum = big_new(w, n);
	uint64_t carry = 0;

	for (unsigned i = 0; i < n; i++) {
		carry += (i < a->n ? a->limb[i] : 0) + (uint64_t)(i < b->n ? b->limb[i] : 0);
		sum->limb[i] = (uint32_t)carry;
		carry >>= 32;
	}
	return trim(sum);
}

/* a - b, a being the larger. */
static struct big *subtract(struct worker *w, const struct big *a, const struct big *b)
{
	struct big *rest = big_new(w, a->n);
	int64_t borrow = 0;

	for (unsigned i = 0; i < a->n; i++) {
		borrow += (int64_t)a->limb[i] - (i < b->n ? b->limb[i] : 0);
		rest->limb[i] = (uint32_t)borrow;
		borrow >>= 32;
	}
	return trim(rest);
}

static struct big *multiply(struct worker *w, const struct big *a, const struct big *b)
{
	struct big *product = big_new(w, a->n + b->n);

	for (unsigned i = 0; i < a->n; i++) {
		uint64_t carry = 0;

		for (unsigned k = 0; k < b->n || carry; k++) {
			carry += product->limb[i + k] +
				 (k < b->n ? (uint64_t)a->limb[i] * b->limb[k] : 0);
			product->limb[i + k] = (uint32_t)carry;
			carry >>= 32;
		}
	}
	return trim(product);
}

static void shift_in(struct big *x, unsigned room, unsigned bit)
{
	uint32_t carry = bit;

	for (unsigned i = 0; i < x->n; i++) {
		uint32_t out = x->limb[i] >> 31;

		x->limb[i] = x->limb[i] << 1 | carry;
		carry = out;
	}
	if (carry && x->n < room)
		x->limb[x->n++] = carry;
}

/* The quotient a / b, bit by bit; *rest is a new number too. */
static struct big *divide(struct worker *w, const struct big *a, const struct big *b,
			  struct big **rest)
{
	struct big *quotient = big_new(w, a->n), *r = big_new(w, b->n + 1);

	r->n = 0;
	for (unsigned i = 32 * a->n; i--;) {
		shift_in(r, b->n + 1, a->limb[i / 32] >> i % 32 & 1);
		if (compare(r, b) >= 0) {
			int64_t borrow = 0;

			for (unsigned k = 0; k < r->n; k++) {
				borrow += (int64_t)r->limb[k] - (k < b->n ? b->limb[k] : 0);
				r->limb[k] = (uint32_t)borrow;
				borrow >>= 32;
			}
			trim(r);
			quotient->limb[i / 32] |= UINT32_C(1) << i % 32;
		}
	}
	if (rest)
		*rest = r;
	else
		put(w, r);
	return trim(quotient);
}

static void replace(struct worker *w, struct big **old, struct big *x)
{
	put(w, *old);
	*old = x;
}

/* By Newton's steps, from above. */
static struct big *square_root(struct worker *w, const struct big *n)
{
	struct big *x = add(w, n, n), *two = small(w, 2);

	for (;;) {
		struct big *q = divide(w, n, x, NULL), *sum = add(w, x, q);
		struct big *better = divide(w, sum, two, NULL);

		put(w, q);
		put(w, sum);
		if (compare(better, x) >= 0) {
			put(w, better);
			break;
		}
		replace(w, &x, better);
	}
	put(w, two);
	return x;
}

/* The state of the expansion: P, Q, and A of this step and of the one before. */
struct expansion {
	struct big *number, *root, *p, *q, *a, *before;
	uint64_t step;
};

/* A^2 - (-1)^k Q is a multiple of N. */
static void prove(struct worker *w, const struct expansion *x)
{
	struct big *square = multiply(w, x->a, x->a), *sum, *rest;

	if (x->step % 2) {
		sum = add(w, square, x->q);
	} else {
		struct big *more = add(w, square, x->number);

		sum = subtract(w, more, x->q);
		put(w, more);
	}
	put(w, divide(w, sum, x->number, &rest));
	if (rest->n)
		fail("cfrac: a step is wrong");
	put(w, rest);
	put(w, sum);
	put(w, square);
}

/* b = (root + P) / Q; A' = b A + A before; P' = b Q - P; Q' = (N - P'^2) / Q. */
static void expand(struct worker *w, struct expansion *x)
{
	struct big *sum = add(w, x->root, x->p), *b = divide(w, sum, x->q, NULL);
	struct big *ba = multiply(w, b, x->a), *long_a = add(w, ba, x->before), *next_a;
	struct big *bq = multiply(w, b, x->q), *p = subtract(w, bq, x->p);
	struct big *square = multiply(w, p, p), *left = subtract(w, x->number, square), *rest;

	put(w, divide(w, long_a, x->number, &next_a));
	replace(w, &x->before, x->a);
	x->a = next_a;
	replace(w, &x->p, p);
	replace(w, &x->q, divide(w, left, x->q, &rest));
	if (rest->n)
		fail("cfrac: a remainder is left");
	put(w, rest);
	put(w, sum);
	put(w, b);
	put(w, ba);
	put(w, long_a);
	put(w, bq);
	put(w, square);
	put(w, left);
	x->step++;
}

static void cfrac(struct worker *w, unsigned threads, unsigned scale)
{
	struct expansion x = {.number = big_new(w, 6)};

	(void)threads;
	for (unsigned i = 0; i < 6; i++)
		x.number->limb[i] = (uint32_t)next(w) | 1;
	x.root = square_root(w, x.number);
	x.p = small(w, 0);
	x.q = small(w, 1);
	x.a = small(w, 1);
	x.before = small(w, 0);
	for (unsigned i = 0; i < 2000 * scale; i++) {
		expand(w, &x);
		prove(w, &x);
	}
	put(w, x.number);
	put(w, x.root);
	put(w, x.p);
	put(w, x.q);
	put(w, x.a);
	put(w, x.before);
}

/* ---- espresso ---------------------------------------------------------------------------------
 * Complements sums of products of 14 variables by Shannon's expansion, as the logic minimiser
 * of that name does, with a block for each product and tables of them that grow. Proved
 * with random inputs: exactly one of a function and its complement is true.
 */
#define VARIABLES 14u

/* A product: variables that have to be 1, and those that have to be 0. */
struct cube {
	uint32_t one, zero;
};

struct cover {
	size_t n, room;
	struct cube **cube;
};

static void append(struct worker *w, struct cover *cover, struct cube cube)
{
	if (cover->n == cover->room) {
		size_t room = cover->room ? 2 * cover->room : 4;
		struct cube **wider = get(w, room * sizeof(struct cube *));

		if (cover->n)
			memcpy(wider, cover->cube, cover->n * sizeof(struct cube *));
		put(w, cover->cube);
		cover->cube = wider;
		cover->room = room;
	}
	cover->cube[cover->n] = get(w, sizeof(cube));
	*cover->cube[cover->n++] = cube;
}

static void release(struct worker *w, struct cover *cover)
{
	for (size_t i = 0; i < cover->n; i++)
		put(w, cover->cube[i]);
	put(w, cover->cube);
}

/* What remains where a variable is known. */
static struct cover cofactor(struct worker *w, const struct cover *of, uint32_t variable,
			     bool value)
{
	struct cover some = {0, 0, NULL};

	for (size_t i = 0; i < of->n; i++) {
		struct cube cube = *of->cube[i];

		if ((value ? cube.zero : cube.one) & variable)
			continue;
		cube.one &= ~variable;
		cube.zero &= ~variable;
		append(w, &some, cube);
	}
	return some;
}

/* The variable that most products have; 0: one of them is true always. */
static uint32_t choose(const struct cover *cover)
{
	unsigned most = 0, at = 0;

	for (unsigned v = 0; v < VARIABLES; v++) {
		unsigned n = 0;

		for (size_t i = 0; i < cover->n; i++)
			n += (cover->cube[i]->one | cover->cube[i]->zero) >> v & 1;
		if (n > most) {
			most = n;
			at = v;
		}
	}
	for (size_t i = 0; i < cover->n; i++)
		if (!(cover->cube[i]->one | cover->cube[i]->zero))
			return 0;
	return UINT32_C(1) << at;
}

/* To `all`, the products of part with a variable; those that stand in other too, without. */
static void merge(struct worker *w, struct cover *all, const struct cover *part,
		  const struct cover *other, uint32_t variable, bool value)
{
	for (size_t i = 0; i < part->n; i++) {
		struct cube cube = *part->cube[i];
		bool twice = false;

		for (size_t k = 0; k < other->n && !twice; k++)
			twice = other->cube[k]->one == cube.one &&
				other->cube[k]->zero == cube.zero;
		if (twice && !value)
			continue; /* it came with the other value */
		if (!twice)
			*(value ? &cube.one : &cube.zero) |= variable;
		append(w, all, cube);
	}
}

static struct cover complement(struct worker *w, const struct cover *of)
{
	struct cover all = {0, 0, NULL}, part[2], inverse[2];
	uint32_t variable;

	if (!of->n) {
		append(w, &all, (struct cube){0, 0});
		return all;
	}
	variable = choose(of);
	if (!variable)
		return all;
	for (unsigned value = 0; value < 2; value++) {
		part[value] = cofactor(w, of, variable, value);
		inverse[value] = complement(w, &part[value]);
	}
	merge(w, &all, &inverse[1], &inverse[0], variable, true);
	merge(w, &all, &inverse[0], &inverse[1], variable, false);
	for (unsigned value = 0; value < 2; value++) {
		release(w, &part[value]);
		release(w, &inverse[value]);
	}
	return all;
}

static bool is_true(const struct cover *cover, uint32_t input)
{
	for (size_t i = 0; i < cover->n; i++)
		if ((cover->cube[i]->one & ~input) == 0 && (cover->cube[i]->zero & input) == 0)
			return true;
	return false;
}

static void espresso(struct worker *w, unsigned threads, unsigned scale)
{
	(void)threads;
	for (unsigned round = 0; round < 3 * scale; round++) {
		struct cover f = {0, 0, NULL}, inverse;

		for (unsigned i = 0; i < 30; i++) {
			uint64_t third = (next(w) & next(w)) | (next(w) & next(w) & next(w));
			uint32_t used = (uint32_t)third & ((1u << VARIABLES) - 1);
			uint32_t one = (uint32_t)next(w) & used;

			append(w, &f, (struct cube){one, used & ~one});
		}
		inverse = complement(w, &f);
		for (unsigned i = 0; i < 200; i++) {
			uint32_t input = (uint32_t)below(w, 1u << VARIABLES);

			if (is_true(&f, input) == is_true(&inverse, input))
				fail("espresso: a complement is wrong");
		}
		release(w, &f);
		release(w, &inverse);
	}
}

const struct workload math_workloads[] = {
	{"cfrac", cfrac, false},
	{"espresso", espresso, false},
	{NULL, NULL, false},
};
