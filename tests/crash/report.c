/*
 * report.c - print what was covered.
 */
#include "report.h"

typedef unsigned long long ull;

void report_header(FILE *to)
{
	fprintf(to, "%-18s %5s %6s %7s %7s %7s %9s %9s %9s %6s %4s %6s %8s\n", "scenario", "ops",
		"fences", "covered", "points", "whole", "images", "distinct", "judged", "nested",
		"fail", "s", "images/s");
}

/*
 * covered: of the (operation x fence) pairs; whole: crash points of which every image
 * was taken; judged: images that were new, or new for what was expected of them.
 */
void report_line(FILE *to, const char *name, const struct report *r)
{
	fprintf(to,
		"%-18s %5llu %6llu %6.1f%% %7llu %7llu %9llu %9llu %9llu %6llu %4llu %6.1f %8.0f\n",
		name, (ull)r->operations, (ull)r->fences,
		r->fences ? 100.0 * (double)r->fences_explored / (double)r->fences : 100.0,
		(ull)r->points, (ull)r->exhaustive, (ull)r->images, (ull)r->distinct,
		(ull)r->judged, (ull)r->nested, (ull)r->failures, r->seconds,
		r->seconds > 0 ? (double)r->images / r->seconds : 0);
}

void report_add(struct report *sum, const struct report *r)
{
	sum->operations += r->operations;
	sum->fences += r->fences;
	sum->fences_explored += r->fences_explored;
	sum->points += r->points;
	sum->images += r->images;
	sum->distinct += r->distinct;
	sum->unseen += r->unseen;
	sum->judged += r->judged;
	sum->exhaustive += r->exhaustive;
	sum->nested += r->nested;
	sum->schedules += r->schedules;
	sum->executions += r->executions;
	sum->failures += r->failures;
	sum->seconds += r->seconds;
}
