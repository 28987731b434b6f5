/*-------------------------------------------------------------------------
 *
 * kept.c
 *	  Kept statements: parse analysis, parameter types, plans.
 *
 * The types of the user's params are inferred by parse analysis of the whole
 * statement; pg_orm's own values have theirs from the start.  Plans are kept
 * by what was composed (and the search_path, since the user's names are
 * resolved in it), the least recently used going first.  A change of any
 * metadata makes a statement be made anew; the server itself sees to changes
 * of everything else that the plan depends on.
 *
 * Memory: the cache is a child of CacheMemoryContext, each statement a child
 * of that.  A statement in use is pinned for as long as the SPI connection of
 * the call lives, or what else holds it.  Locks are those of parse analysis
 * and planning.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "lib/ilist.h"
#include "mb/pg_wchar.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "parser/parse_node.h"
#include "parser/parse_param.h"
#include "parser/parser.h"
#include "utils/memutils.h"

#include "query/internal.h"

#define KEPT_STATEMENTS_MAX 256

typedef struct KeptEntry
{
	KeptStatement statement;	/* has to be first */
	dlist_node	lru_node;
	char	   *key;
	int			key_length;
	uint32		hash;
	int			pins;
	bool		dropped;		/* out of the cache, freed by the last pin */
} KeptEntry;

typedef struct KeptKey
{
	const char *data;
	int			length;
	uint32		hash;
} KeptKey;

typedef struct KeptSlot
{
	KeptKey		key;
	KeptEntry  *entry;
	char		status;
} KeptSlot;

#define SH_PREFIX kepttab
#define SH_ELEMENT_TYPE KeptSlot
#define SH_KEY_TYPE KeptKey
#define SH_KEY key
#define SH_HASH_KEY(table, key) ((key).hash)
#define SH_EQUAL(table, a, b) ((a).length == (b).length && \
							   memcmp((a).data, (b).data, (a).length) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(table, slot) ((slot)->key.hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Keeps a statement until the memory context that holds the pin is gone. */
typedef struct KeptPin
{
	MemoryContextCallback callback;
	KeptEntry  *entry;
} KeptPin;

/* What the error callback needs to find the user's fragment. */
typedef struct AnalysisError
{
	Composition *composition;
	const char *text;
	FragmentSpan *spans;
} AnalysisError;

static MemoryContext kept_context = NULL;
static kepttab_hash *kept_table = NULL;
static dlist_head kept_lru = DLIST_STATIC_INIT(kept_lru);	/* oldest first */

/* ------------------------------------------------------------------------
 * the cache
 * ------------------------------------------------------------------------
 */
static void
kept_init(void)
{
	if (kept_context == NULL)
		kept_context = AllocSetContextCreate(CacheMemoryContext,
											 "pg_orm kept statements",
											 ALLOCSET_SMALL_SIZES);
	if (kept_table == NULL)
		kept_table = kepttab_create(kept_context, KEPT_STATEMENTS_MAX, NULL);
}

static void
kept_free(KeptEntry *entry)
{
	SPI_freeplan(entry->statement.plan);
	MemoryContextDelete(entry->statement.context);
}

static void
kept_drop(KeptEntry *entry)
{
	KeptKey		key = {entry->key, entry->key_length, entry->hash};

	kepttab_delete(kept_table, key);
	dlist_delete(&entry->lru_node);
	entry->dropped = true;
	if (entry->pins == 0)
		kept_free(entry);
}

static void
kept_unpin(void *arg)
{
	KeptEntry  *entry = ((KeptPin *) arg)->entry;

	if (--entry->pins == 0 && entry->dropped)
		kept_free(entry);
}

static void
kept_pin(KeptEntry *entry, MemoryContext context)
{
	KeptPin    *pin = MemoryContextAlloc(context, sizeof(KeptPin));

	pin->entry = entry;
	pin->callback.func = kept_unpin;
	pin->callback.arg = pin;
	entry->pins++;
	MemoryContextRegisterResetCallback(context, &pin->callback);
}

static void
kept_insert(KeptEntry *entry)
{
	KeptKey		key = {entry->key, entry->key_length, entry->hash};
	bool		found;

	while (kept_table->members >= KEPT_STATEMENTS_MAX)
		kept_drop(dlist_container(KeptEntry, lru_node,
								  dlist_head_node(&kept_lru)));
	kepttab_insert(kept_table, key, &found)->entry = entry;
	Assert(!found);
	dlist_push_tail(&kept_lru, &entry->lru_node);
}

static KeptEntry *
kept_lookup(KeptKey key)
{
	KeptSlot   *slot = kepttab_lookup(kept_table, key);
	KeptEntry  *entry;

	if (slot == NULL)
		return NULL;
	entry = slot->entry;
	if (entry->statement.generation != model_generation())
	{
		kept_drop(entry);
		return NULL;
	}
	dlist_delete(&entry->lru_node);
	dlist_push_tail(&kept_lru, &entry->lru_node);
	return entry;
}

/* Everything that the statement depends on, but metadata. */
static KeptKey
composition_key(Composition *composition)
{
	StringInfoData data;
	List	   *path = fetch_search_path(true);
	bool		named = composition->params != NULL &&
	JsonContainerIsObject(composition->params);
	KeptKey		key;
	ListCell   *cell;

	initStringInfo(&data);
	appendStringInfo(&data, "%u %d %d", composition->model->relid,
					 composition->nparams, named);
	foreach(cell, path)
		appendStringInfo(&data, " %u", lfirst_oid(cell));
	appendStringInfoChar(&data, ';');
	foreach(cell, composition->values)
	{
		Value	   *value = lfirst(cell);

		appendStringInfo(&data, " %u%s", value->type,
						 value->is_json ? "j" : "");
	}
	foreach(cell, composition->fragments)
	{
		Fragment   *fragment = lfirst(cell);

		appendStringInfo(&data, " %d:%d:%d:%s", fragment->kind,
						 fragment->offset, (int) strlen(fragment->text),
						 fragment->text);
	}
	appendBinaryStringInfo(&data, composition->text.data,
						   composition->text.len);
	key.data = data.data;
	key.length = data.len;
	key.hash = hash_bytes((unsigned char *) data.data, data.len);
	list_free(path);
	return key;
}

/* ------------------------------------------------------------------------
 * parse analysis
 * ------------------------------------------------------------------------
 */

/* Makes a position in the whole statement one in the user's fragment. */
static void
analysis_error_callback(void *arg)
{
	AnalysisError *error = arg;
	int			position = geterrposition();

	if (position <= 0)
		return;
	for (int i = 0; i < list_length(error->composition->fragments); i++)
	{
		FragmentSpan *span = &error->spans[i];

		if (position > span->start && position <= span->end)
		{
			fragment_report_position(span->fragment, position - span->start);
			errcontext("%s of %s", fragment_name(span->fragment->kind),
					   error->composition->call);
			return;
		}
	}
	errposition(0);
	internalerrposition(position);
	internalerrquery(error->text);
}

static List *
column_names(Model *model)
{
	List	   *names = NIL;

	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(model->tupdesc, i);

		if (!attribute->attisdropped)
			names = lappend(names, pstrdup(NameStr(attribute->attname)));
	}
	return names;
}

/*
 * A bare name that is no column: it may be a variable of PL/pgSQL, or text
 * in the wrong kind of quotes.  Names in subqueries are left to the parser.
 */
static Node *
unknown_column_hook(ParseState *pstate, ColumnRef *cref, Node *var)
{
	RangeTblEntry *table;
	Model	   *model;
	const char *name;
	const char *nearest;

	if (var != NULL || pstate->parentParseState != NULL ||
		list_length(cref->fields) != 1 || !IsA(linitial(cref->fields), String))
		return NULL;
	table = linitial_node(RangeTblEntry, pstate->p_rtable);
	model = model_by_relid(table->relid, true);
	if (model == NULL)
		return NULL;

	name = strVal(linitial(cref->fields));
	nearest = nearest_name(name, column_names(model));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" does not exist", name),
			 nearest != NULL
			 ? errhint("Perhaps you meant \"%s\". A variable of PL/pgSQL is not seen here: pass its value in params.",
					   nearest)
			 : errhint("A variable of PL/pgSQL is not seen here: pass its value in params. A text constant stands in single quotes."),
			 parser_errposition(pstate, cref->location)));
}

static Query *
analyse(RawStmt *raw, const char *text, Oid **argtypes, int *nargs)
{
	ParseState *pstate = make_parsestate(NULL);
	Query	   *query;

	pstate->p_sourcetext = text;
	setup_parse_variable_parameters(pstate, argtypes, nargs);
	pstate->p_post_columnref_hook = unknown_column_hook;
	query = transformTopLevelStmt(pstate, raw);
	check_variable_parameters(pstate, query);
	free_parsestate(pstate);
	return query;
}

static char *
param_name(Composition *composition, List *names, int arg)
{
	if (composition->params != NULL &&
		JsonContainerIsObject(composition->params))
		return psprintf(":%s", (char *) list_nth(names, arg));
	return psprintf("$%d", arg + 1);
}

static void
check_types_known(Composition *composition, List *names, Oid *argtypes)
{
	for (int arg = 0; arg < composition->nparams; arg++)
	{
		if (argtypes[arg] == UNKNOWNOID)
			ereport(ERROR,
					(errcode(ERRCODE_INDETERMINATE_DATATYPE),
					 errmsg("could not determine the type of parameter %s",
							param_name(composition, names, arg)),
					 errhint("Name it in the fragment, as in %s::text.",
							 param_name(composition, names, arg))));
	}
}

static Oid *
initial_types(Composition *composition)
{
	Oid		   *types = palloc0(sizeof(Oid) *
								(composition->nparams +
								 list_length(composition->values) + 1));
	int			n = composition->nparams;
	ListCell   *cell;

	foreach(cell, composition->values)
		types[n++] = ((Value *) lfirst(cell))->type;
	return types;
}

static void
statement_note_set_columns(KeptStatement *kept, Query *query)
{
	MemoryContext old = MemoryContextSwitchTo(kept->context);
	ListCell   *cell;

	foreach(cell, query->commandType == CMD_UPDATE ? query->targetList : NIL)
	{
		TargetEntry *target = lfirst_node(TargetEntry, cell);

		if (!target->resjunk)
			kept->set_columns =
				bms_add_member(kept->set_columns,
							   column_member(target->resno));
	}
	MemoryContextSwitchTo(old);
}

/* Infers the types of the parameters, and what 'evaluate' must know. */
static void
statement_analyse(KeptStatement *kept, Composition *composition,
				  List *names, FragmentSpan *spans)
{
	AnalysisError error = {composition, kept->text, spans};
	ErrorContextCallback callback = {error_context_stack,
		analysis_error_callback, &error};
	Oid		   *types = initial_types(composition);
	int			nargs = composition->nparams + list_length(composition->values);
	int			ntypes = nargs;
	List	   *parsed;
	Query	   *query;

	error_context_stack = &callback;
	parsed = raw_parser(kept->text, RAW_PARSE_DEFAULT);
	if (list_length(parsed) != 1)
		elog(ERROR, "composed %d statements", list_length(parsed));
	query = analyse(linitial_node(RawStmt, parsed), kept->text, &types,
					&ntypes);
	check_types_known(composition, names, types);
	kept->has_subquery = query->hasSubLinks || query->hasAggs;
	kept->is_volatile = contain_volatile_functions((Node *) query);
	kept->is_mutable = contain_mutable_functions((Node *) query);
	statement_note_set_columns(kept, query);
	error_context_stack = callback.previous;

	kept->nargs = nargs;
	kept->argtypes = MemoryContextAlloc(kept->context,
										sizeof(Oid) * (nargs + 1));
	memcpy(kept->argtypes, types, sizeof(Oid) * nargs);
}

/*
 * The types are known without it if all parameters are pg_orm's own, and
 * there is no error to explain if all of the text is.
 */
static bool
needs_analysis(Composition *composition)
{
	return !composition->only_read || composition->nparams > 0 ||
		composition->fragments != NIL;
}

static void
statement_take_types(KeptStatement *kept, Composition *composition)
{
	MemoryContext old = MemoryContextSwitchTo(kept->context);

	kept->nargs = list_length(composition->values);
	kept->argtypes = initial_types(composition);
	MemoryContextSwitchTo(old);
}

static void
statement_plan_keep(KeptStatement *kept, Composition *composition)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(kept->text, kept->nargs,
										  kept->argtypes,
										  CURSOR_OPT_PARALLEL_OK |
										  (composition->generic_plan ?
										   CURSOR_OPT_GENERIC_PLAN : 0));

	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s",
			 SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	kept->plan = plan;
}

static void
statement_keep_names(KeptStatement *kept, Composition *composition,
					 List *names)
{
	int			n = 0;
	ListCell   *cell;

	if (composition->params == NULL ||
		!JsonContainerIsObject(composition->params))
		return;
	kept->names = MemoryContextAllocZero(kept->context,
										 sizeof(char *) * (composition->nparams + 1));
	foreach(cell, names)
		kept->names[n++] = MemoryContextStrdup(kept->context, lfirst(cell));
}

static KeptEntry *
kept_make(Composition *composition, KeptKey key)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "pg_orm kept statement",
												  ALLOCSET_SMALL_SIZES);
	KeptEntry  *entry = MemoryContextAllocZero(context, sizeof(KeptEntry));
	KeptStatement *kept = &entry->statement;
	List	   *names = NIL;
	FragmentSpan *spans;

	kept->context = context;
	kept->generation = model_generation();
	kept->text = MemoryContextStrdup(context,
									 composition_text(composition, &names,
													  &spans));
	entry->key = MemoryContextAlloc(context, key.length);
	memcpy(entry->key, key.data, key.length);
	entry->key_length = key.length;
	entry->hash = key.hash;

	if (needs_analysis(composition))
		statement_analyse(kept, composition, names, spans);
	else
		statement_take_types(kept, composition);
	statement_keep_names(kept, composition, names);
	statement_plan_keep(kept, composition);
	MemoryContextSetParent(context, kept_context);
	return entry;
}

KeptStatement *
kept_statement_get(Composition *composition)
{
	KeptKey		key;
	KeptEntry  *entry;

	kept_init();
	key = composition_key(composition);
	entry = kept_lookup(key);
	if (entry == NULL)
	{
		entry = kept_make(composition, key);
		kept_insert(entry);
	}
	kept_pin(entry, CurrentMemoryContext);
	return &entry->statement;
}

void
kept_statement_pin(KeptStatement *kept, MemoryContext context)
{
	kept_pin((KeptEntry *) kept, context);
}
