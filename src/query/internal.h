/*-------------------------------------------------------------------------
 *
 * internal.h
 *	  What the files of the query module share, and nobody else sees.
 *
 * A call collects its criteria in a Composition, gets the KeptStatement that
 * has the plan for it, binds the values, and executes it.  A Composition
 * lives in the memory of the call's SPI connection; a KeptStatement lives in
 * a bounded cache of the backend and stays at least until that connection
 * ends.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_QUERY_INTERNAL_H
#define PG_ORM_QUERY_INTERNAL_H

#include "executor/spi.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "utils/jsonb.h"

#include "model/model.h"
#include "session/session.h"

typedef enum FragmentKind
{
	FRAGMENT_FILTER,
	FRAGMENT_ORDER_BY,
	FRAGMENT_SET
} FragmentKind;

/* SQL that the user gave, and where it goes in the composed text. */
typedef struct Fragment
{
	FragmentKind kind;
	const char *text;
	int			offset;			/* in the text of pg_orm's own pieces */
} Fragment;

/*
 * A value that pg_orm puts into the statement; its parameter numbers follow
 * those of the user's params.
 */
typedef struct Value
{
	const char *name;			/* for messages */
	Oid			type;
	bool		is_json;
	JsonbValue	json;			/* if is_json */
	Datum		datum;			/* otherwise */
	bool		isnull;
} Value;

typedef struct Composition
{
	const char *call;			/* "orm.query", for messages */
	Model	   *model;
	const char *alias;			/* the table's own name, quoted */
	const char *relname;		/* and not quoted */
	JsonbContainer *params;		/* the user's params, or NULL */
	int			nparams;		/* number of them */
	StringInfoData text;		/* pg_orm's own pieces of the statement */
	List	   *fragments;		/* Fragment */
	List	   *values;			/* Value */
	int			naliases;
	bool		operators;		/* filter_by may have operators by name */
	bool		generic_plan;	/* values do not matter for the plan */
	bool		only_read;		/* nobody asks what the statement does */
} Composition;

/* Where a fragment went in the text that PostgreSQL gets to see. */
typedef struct FragmentSpan
{
	Fragment   *fragment;
	int			start;			/* in characters, as error positions are */
	int			end;
} FragmentSpan;

typedef struct KeptStatement
{
	uint64		generation;		/* of the metadata it was made with */
	SPIPlanPtr	plan;
	char	   *text;
	int			nargs;			/* user's params, then pg_orm's values */
	Oid		   *argtypes;
	char	  **names;			/* of the user's params, or NULL if numbered;
								 * an entry is NULL if it is not used */
	bool		has_subquery;	/* subquery or aggregate */
	bool		is_volatile;	/* calls a volatile function */
	bool		is_mutable;		/* calls one that is not immutable */
	bool		rebuilds_tuples;	/* its plan does not hand out the table's */
	Bitmapset  *set_columns;	/* of an UPDATE: what it assigns, offset by
								 * FirstLowInvalidHeapAttributeNumber */
	struct ParamConverter *converter;	/* NULL until first used */
	MemoryContext context;
} KeptStatement;

/* ------------------------------------------------------------------------
 * in fragment.c: SQL that the user gave
 * ------------------------------------------------------------------------
 */
extern const char *fragment_name(FragmentKind kind);

/*
 * The fragment with :name replaced by $n.  names has the names in the order
 * of their numbers; new ones are added.  Positions stay the same as far as
 * the numbers are not longer than the names.
 */
extern char *fragment_number_params(Composition *composition,
									Fragment *fragment, List **names);

/*
 * Raises 42601 unless text, which is the fragment with its params numbered,
 * is by itself just what its kind says.
 */
extern void fragment_check(Composition *composition, Fragment *fragment,
						   const char *text);

/* Is it what a parse as RAW_PARSE_PLPGSQL_EXPR gives for one expression? */
extern bool fragment_is_expression(Node *stmt);

/*
 * For error callbacks: makes a position in the statement (1-based, in
 * characters) one in the user's fragment.
 */
extern void fragment_report_position(const Fragment *fragment, int position);

/* ------------------------------------------------------------------------
 * in criteria.c: putting a statement together
 * ------------------------------------------------------------------------
 */
extern Composition *composition_create(const char *call, Model *model,
									   const char *action, Jsonb *params);
extern void compose_fragment(Composition *composition, FragmentKind kind,
							 const char *text);

/* Adds a value and returns the number of its parameter. */
extern int	compose_datum(Composition *composition, const char *name,
						  Oid type, Datum datum, bool isnull);
extern int	compose_json(Composition *composition, const char *name,
						 Oid type, const JsonbValue *json);

/* " keyword ..." with what is there of the two; nothing if neither is. */
extern void compose_criteria(Composition *composition, const char *keyword,
							 const char *filter, Jsonb *filter_by);

/*
 * The text that PostgreSQL gets, with every fragment checked, and the spans
 * of the fragments in it: array with one for each fragment.
 */
extern char *composition_text(Composition *composition, List **names,
							  FragmentSpan **spans);

/* ------------------------------------------------------------------------
 * in filter_by.c: JSON criteria
 * ------------------------------------------------------------------------
 */
extern void compose_filter_by(Composition *composition, Jsonb *filter_by);

/* " COLLATE schema.name" where the two sides differ, or "". */
extern char *collate_clause(Oid referenced, Oid referencing);

/* Is the value an object that gives exactly the key of the related row? */
extern bool names_related_key(Relationship *relationship,
							  const JsonbValue *value);

/* The value under a key of an object; false if it is not there. */
extern bool json_get(JsonbContainer *object, const char *key,
					 JsonbValue *value);

/* ------------------------------------------------------------------------
 * in operators.c: comparisons by name
 * ------------------------------------------------------------------------
 */

/*
 * Does the operator mean what the value by itself would mean ("eq", "in")?
 * An unknown one is 42703.
 */
extern bool operator_is_plain(const char *operator, const char *column,
							  const JsonbValue *value);

/* Another operator's comparison; type is the column's base type. */
extern void compose_operator(Composition *composition, const char *column,
							 Oid type, const char *name,
							 const char *operator, const JsonbValue *value);

/* ------------------------------------------------------------------------
 * in kept.c: kept statements
 * ------------------------------------------------------------------------
 */
/* Needs an SPI connection, which the result outlives. */
extern KeptStatement *kept_statement_get(Composition *composition);

/* From now on it outlives the context, too. */
extern void kept_statement_pin(KeptStatement *kept, MemoryContext context);

/* ------------------------------------------------------------------------
 * in params.c: JSON values to parameters
 * ------------------------------------------------------------------------
 */
/* The arguments of the statement: values[nargs], and nulls as SPI has them. */
extern void kept_statement_bind(KeptStatement *kept, Composition *composition,
								Datum **values, char **nulls);

/* 42P02 for a name that params does not have; position is 0 if not known. */
extern void params_raise_missing(Composition *composition, const char *name,
								 int position);

/* ------------------------------------------------------------------------
 * in query.c: orm.query and its kin
 * ------------------------------------------------------------------------
 */

/* Positions of the arguments; those that a function lacks are -1. */
typedef struct QuerySignature
{
	const char *call;
	int			row_limit;
	int			row_offset;
	int			populate_existing;
	int			sql_limit;		/* LIMIT of the statement, or 0 */
	bool		unique;			/* a second row is an error */
	bool		required;		/* no row is an error */
} QuerySignature;

extern const QuerySignature query_signature;	/* of orm.query */

typedef struct PreparedQuery
{
	MemoryContext context;		/* of the rest: to be set by the caller */
	Model	   *model;
	KeptStatement *kept;
	Datum	   *values;
	char	   *nulls;
} PreparedQuery;

/*
 * The statement for a call's arguments; with the version of the rows behind
 * their columns, where there is one.  Needs an SPI connection.
 */
extern void query_prepare(PreparedQuery *query, FunctionCallInfo fcinfo,
						  const QuerySignature *signature, bool with_version);

/*
 * The same, and what the current session has pending is flushed; returns that
 * session.
 */
extern Session *query_start(PreparedQuery *query, FunctionCallInfo fcinfo,
							const QuerySignature *signature,
							bool with_version);

extern Datum orm_query(PG_FUNCTION_ARGS);

/* ------------------------------------------------------------------------
 * in pull.c: orm.query's rows one by one
 * ------------------------------------------------------------------------
 */
typedef struct RowPull
{
	OwnScan    *scan;

	/* rows go past the session for as long as it gets no more objects */
	bool		passing;
	uint64		objects_made;

	/* private to pull.c */
	bool		loads;			/* rows become objects */
	bool		populate_existing;
	bool		with_version;	/* the select list has the rows' xmin */
	PreparedQuery query;
	Session    *session;		/* the scope that rows are read in */
	Oid			userid;
	bool		row_security;
	CommandId	command;		/* the transaction's, when it began */
	uint64		taken;			/* rows that the session was given */
	TupleTableSlot *shown;		/* a row of the session's */
	TupleTableSlot *narrow;		/* one without the version behind it */
	HeapTupleData shown_row;
	MemoryContext context;
	MemoryContext row_context;	/* of the row handed out last */
} RowPull;

/*
 * Starts the query of a call of orm.query; without loads its rows do not
 * become objects.  NULL if it has to be run at once, or if the table has
 * other columns than expected.  The memory is a child of the current context.
 */
extern RowPull *row_pull_start(FunctionCallInfo fcinfo, bool loads,
							   TupleDesc expected);

/* What is to be shown of the row that the statement gave. */
extern TupleTableSlot *row_pull_take(RowPull *pull, TupleTableSlot *slot);

/* The next row, in a slot that is good until the next call, or NULL. */
static inline TupleTableSlot *
row_pull_next(RowPull *pull)
{
	TupleTableSlot *slot = own_scan_next(pull->scan);

	if (TupIsNull(slot))
		return NULL;
	if (pull->passing && pull->objects_made == session_objects_made &&
		!pull->with_version)
		return slot;
	return row_pull_take(pull, slot);
}

/* From the first row on again, as the same snapshot shows them. */
extern void row_pull_rescan(RowPull *pull);
extern void row_pull_end(RowPull *pull);
extern TupleDesc row_pull_tupdesc(RowPull *pull);

/* ------------------------------------------------------------------------
 * in evaluate.c: what a bulk statement did, without asking it
 * ------------------------------------------------------------------------
 */

/* What may make a row differ from what the statement's text says. */
typedef struct TableTraits
{
	bool		plain;			/* ordinary or partitioned table, no rules */
	bool		row_security;	/* applies to the present user */
	bool		triggers;		/* the user's own */
	bool		before_update;	/* a trigger may change the row, and its key */
	bool		cascades;		/* foreign-key actions on other rows */
	bool		generated;		/* has generated columns */
} TableTraits;

extern void table_traits_get(Oid relid, TableTraits *traits);

typedef struct Evaluation Evaluation;

/*
 * Prepares to evaluate the statement's criteria and SET expressions on stored
 * rows.  NULL if what comes out would not provably be what the statement did.
 */
extern Evaluation *evaluation_prepare(KeptStatement *kept, Model *model,
									  const TableTraits *traits,
									  Datum *values, const char *nulls);

/* Does the row meet the criteria? */
extern bool evaluation_matches(Evaluation *evaluation, HeapTuple row);

/* The row with the SET expressions applied; for a row that matches. */
extern HeapTuple evaluation_new_row(Evaluation *evaluation, HeapTuple row);

extern void evaluation_end(Evaluation *evaluation);

/* ------------------------------------------------------------------------
 * in synchronize.c: objects after a bulk statement
 * ------------------------------------------------------------------------
 */
/* Objects that a bulk statement's RETURNING named. */
typedef struct Match
{
	Datum	   *key;			/* from before the statement */
	HeapTuple	row;			/* from after it; NULL for a DELETE */
} Match;

/*
 * A DestReceiver that notes as Match what of the rows is in the session.  The
 * columns are those of the model (has_row), then those of the key (has_key).
 */
extern DestReceiver *match_receiver_create(Session *session,
										   Model *model, bool has_row,
										   bool has_key);
extern List *match_receiver_matches(DestReceiver *receiver);

extern void synchronize_matches(Session *session, Model *model,
								List *matches, Bitmapset *set_columns,
								bool expire);
extern void synchronize_evaluated(Session *session, Model *model,
								  Evaluation *evaluation,
								  Bitmapset *set_columns, bool is_delete);

/*
 * Reads the objects' rows again by their keys.  Not for an UPDATE when one of
 * them has pending changes, since it does not tell which rows were matched.
 */
extern void synchronize_reread(Session *session, Model *model,
							   bool is_delete);

#endif							/* PG_ORM_QUERY_INTERNAL_H */
