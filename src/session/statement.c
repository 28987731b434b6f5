/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  Kept plans of the statements that a session generates.
 *
 * A plan is kept per model, kind of statement and set of columns, and whether
 * it is for one row or for any number, for the life of the backend; its text
 * is made anew when metadata has changed.  The number of plans is bounded:
 * beyond it all of them are dropped at the next moment when none can be in
 * use.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/memutils.h"

#include "session/internal.h"

#define STATEMENTS_MAX 500

typedef struct StatementKey
{
	Oid			relid;
	StatementKind kind;
	bool		one;
	Bitmapset  *columns;
	const char *relationship;	/* its name, or "" */
} StatementKey;

typedef struct Statement
{
	StatementKey key;
	char		status;
	uint64		generation;
	SPIPlanPtr	plan;
} Statement;

static uint32
statement_key_hash(StatementKey key)
{
	uint32		hash = hash_combine(murmurhash32(key.relid),
									key.kind * 2 + key.one);

	hash = hash_combine(hash, bms_hash_value(key.columns));
	return hash_combine(hash, string_hash(key.relationship, NAMEDATALEN));
}

#define SH_PREFIX statement
#define SH_ELEMENT_TYPE Statement
#define SH_KEY_TYPE StatementKey
#define SH_KEY key
#define SH_HASH_KEY(table, k) statement_key_hash(k)
#define SH_EQUAL(table, a, b) ((a).relid == (b).relid && \
							   (a).kind == (b).kind && \
							   (a).one == (b).one && \
							   bms_equal((a).columns, (b).columns) && \
							   strcmp((a).relationship, (b).relationship) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static statement_hash *statements = NULL;
static MemoryContext statements_context = NULL;

/* Plans to be freed at the end of the transaction. */
static List *retired = NIL;

static void
statements_create(void)
{
	statements_context = AllocSetContextCreate(CacheMemoryContext,
											   "pg_orm statements",
											   ALLOCSET_SMALL_SIZES);
	statements = statement_create(statements_context, 64, NULL);
}

static void
plan_retire(SPIPlanPtr plan)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	retired = lappend(retired, plan);
	MemoryContextSwitchTo(old);
}

/* Called when the transaction ends: nothing is being executed any more. */
void
statements_xact_end(void)
{
	ListCell   *cell;

	foreach(cell, retired)
		SPI_freeplan(lfirst(cell));
	retired = NIL;
}

/* Too many shapes: start again. */
static void
statements_drop_all(void)
{
	statement_iterator scan;
	Statement  *entry;

	statement_start_iterate(statements, &scan);
	while ((entry = statement_iterate(statements, &scan)) != NULL)
		plan_retire(entry->plan);
	MemoryContextDelete(statements_context);
	statements = NULL;
}

static SPIPlanPtr
statement_prepare(const StatementSubject *subject, int nargs, Oid *argtypes,
				  StatementText make_text)
{
	char	   *text = make_text(subject);
	SPIPlanPtr	plan;

	/* rows come as one array: a generic plan suits any number of them */
	plan = SPI_prepare_cursor(text, nargs, argtypes, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	return plan;
}

/* For a plan that was just made; while it was, others may have been. */
static Statement *
statement_entry(StatementKey key)
{
	Statement  *entry = statement_lookup(statements, key);
	MemoryContext old;
	bool		found;

	if (entry != NULL)
	{
		plan_retire(entry->plan);
		return entry;
	}
	if (statements->members >= STATEMENTS_MAX)
	{
		statements_drop_all();
		statements_create();
	}
	old = MemoryContextSwitchTo(statements_context);
	key.columns = bms_copy(key.columns);
	key.relationship = pstrdup(key.relationship);
	MemoryContextSwitchTo(old);
	return statement_insert(statements, key, &found);
}

SPIPlanPtr
statement_plan(const StatementSubject *subject, int nargs, Oid *argtypes,
			   StatementText make_text)
{
	StatementKey key = {
		.relid = subject->model->relid,
		.kind = subject->kind,
		.one = subject->one,
		.columns = subject->columns,
		.relationship = subject->relationship ?
		subject->relationship->name : ""
	};
	Statement  *entry;
	SPIPlanPtr	plan;
	uint64		generation;

	if (statements == NULL)
		statements_create();
	entry = statement_lookup(statements, key);
	if (entry != NULL && entry->generation == model_generation())
		return entry->plan;

	/* news that come while it is made may be of what it is made from */
	generation = model_generation();
	plan = statement_prepare(subject, nargs, argtypes, make_text);
	entry = statement_entry(key);
	entry->plan = plan;
	entry->generation = generation;
	return plan;
}
