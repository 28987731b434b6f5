/*-------------------------------------------------------------------------
 *
 * members.c
 *	  The members of a relationship: reading them as the session sees them.
 *
 * Collections are not kept: the foreign keys (or links) are the truth, those
 * of the table with the session's pending changes over them.  Lists and rows
 * are in the memory of the caller.  No locks but those of the statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rls.h"

#include "compat.h"
#include "session/graph.h"
#include "session/internal.h"

typedef struct MembersReceiver
{
	DestReceiver pub;
	Session    *session;
	Model	   *target;
	LoadMode	mode;
	MemoryContext context;		/* of the list and its rows */
	List	   *rows;
} MembersReceiver;

/* ------------------------------------------------------------------------
 * lists of members, each of them once
 * ------------------------------------------------------------------------
 */
typedef struct MemberKey
{
	Datum	   *key;
	char		status;
} MemberKey;

#define SH_PREFIX memberkeys
#define SH_ELEMENT_TYPE MemberKey
#define SH_KEY_TYPE Datum *
#define SH_KEY key
#define SH_HASH_KEY(table, k) \
	model_key_hash((Model *) (table)->private_data, (k))
#define SH_EQUAL(table, a, b) \
	model_key_equal((Model *) (table)->private_data, (a), (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct MemberSet
{
	Model	   *target;
	List	   *rows;			/* pointers to composite Datums */
	memberkeys_hash *keys;
};

static MemberSet *
member_set(Model *target)
{
	MemberSet  *set = palloc0(sizeof(MemberSet));

	set->target = target;
	set->keys = memberkeys_create(CurrentMemoryContext, 8, target);
	return set;
}

/* The key of a row, which may be NULL if a trigger is to make it. */
static Datum *
member_key(Model *target, Datum row)
{
	Datum	   *key = palloc(target->nkeys * sizeof(Datum));

	return model_key_of_row(target, DatumGetHeapTupleHeader(row), key) ? key :
		NULL;
}

bool
member_set_has(const MemberSet *set, Datum row)
{
	Datum	   *key = member_key(set->target, row);

	return key != NULL && memberkeys_lookup(set->keys, key) != NULL;
}

bool
member_set_add(MemberSet *set, Datum row)
{
	Datum	   *key = member_key(set->target, row);
	bool		found = false;

	if (key != NULL)
		(void) memberkeys_insert(set->keys, key, &found);
	if (!found)
		set->rows = lappend(set->rows, DatumGetPointer(row));
	return !found;
}

MemberSet *
member_set_create(Model *target, List *rows)
{
	MemberSet  *set = member_set(target);
	ListCell   *cell;

	foreach(cell, rows)
		(void) member_set_add(set, PointerGetDatum(lfirst(cell)));
	return set;
}

/* ------------------------------------------------------------------------
 * reading members
 * ------------------------------------------------------------------------
 */
/*
 * "t.fk = r.n1 AND ...": a relation's columns and those of the owners sent, or
 * "t.fk = $1 AND ..." for one owner.
 */
static void
append_owner_condition(StringInfo sql, Model *model,
					   Relationship *relationship, Model *near,
					   const char *alias, const AttrNumber *attnums,
					   bool several)
{
	for (int i = 0; i < relationship->nlocal; i++)
	{
		AttrNumber	local = relationship->local_attnums[i];
		Oid			near_type = TupleDescAttr(near->tupdesc,
											  attnums[i] - 1)->atttypid;
		Oid			local_type = TupleDescAttr(model->tupdesc,
											   local - 1)->atttypid;

		appendStringInfo(sql, "%s%s.%s %s %s%d", i > 0 ? " AND " : "", alias,
						 column_sql(near, attnums[i]),
						 operator_sql(types_equality_required(near_type,
															  local_type)),
						 several ? "r.n" : "$", several ? local : i + 1);
	}
}

static char *
members_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	Relationship *relationship = subject->relationship;
	Model	   *target = model_by_relid(relationship->target, false);
	bool		many = relationship->direction == RELATIONSHIP_MANY_TO_MANY;
	Model	   *near = many ? relationship_association(relationship) : target;
	AttrNumber *near_attnums = many ? relationship->secondary_local :
	relationship->remote_attnums;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "/* pg_orm load %s */ SELECT %s FROM %s AS t WHERE ",
					 class_comment(target), session_select_list(target, "t"),
					 target->relation_name);
	if (many)
	{
		appendStringInfo(&sql, "EXISTS (SELECT FROM %s AS s WHERE ",
						 near->relation_name);
		for (int i = 0; i < relationship->nremote; i++)
			appendStringInfo(&sql, "%s AND ",
							 column_equality_sql(near, "s",
												 relationship->secondary_remote[i],
												 target, "t",
												 relationship->remote_attnums[i]));
	}
	append_owner_condition(&sql, model, relationship, near, many ? "s" : "t",
						   near_attnums, false);
	if (many)
		appendStringInfoChar(&sql, ')');
	return sql.data;
}

static bool
members_receive(TupleTableSlot *slot, DestReceiver *self)
{
	MembersReceiver *receiver = (MembersReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->context);
	Datum		row = session_take_row_of(receiver->session, receiver->target,
										  slot, 0, receiver->mode);

	receiver->rows = lappend(receiver->rows, DatumGetPointer(row));
	MemoryContextSwitchTo(old);
	return true;
}

/* Reads the stored members; none if a local column is NULL. */
static List *
members_load(Session *session, Model *model, Datum row,
			 Relationship *relationship, LoadMode mode)
{
	StatementSubject subject = {
		.kind = STATEMENT_MEMBERS,
		.model = model,
		.relationship = relationship
	};
	MembersReceiver receiver = {
		.session = session,
		.target = model_by_relid(relationship->target, false),
		.mode = mode,
		.context = CurrentMemoryContext
	};
	int			n = relationship->nlocal;
	Oid		   *argtypes = palloc(n * sizeof(Oid));
	Datum	   *values = palloc(n * sizeof(Datum));
	bool		isnull;

	for (int i = 0; i < n; i++)
	{
		AttrNumber	attnum = relationship->local_attnums[i];

		argtypes[i] = TupleDescAttr(model->tupdesc, attnum - 1)->atttypid;
		values[i] = row_column(model, row, attnum, &isnull);
		if (isnull)
			return NIL;
	}
	receiver.pub = *None_Receiver;
	receiver.pub.receiveSlot = members_receive;
	SPI_connect();
	own_statement_execute(statement_plan(&subject, n, argtypes, members_sql),
						  values, NULL, &receiver.pub);
	SPI_finish();
	return receiver.rows;
}

/* ------------------------------------------------------------------------
 * the members of several owners
 * ------------------------------------------------------------------------
 */
typedef struct OwnersReceiver
{
	DestReceiver pub;
	Session    *session;
	Model	   *target;
	LoadMode	mode;
	MemoryContext context;		/* of the lists and their rows */
	List	  **rows;			/* of each owner */
	int		   *at;
} OwnersReceiver;

static bool
owners_receive(TupleTableSlot *slot, DestReceiver *self)
{
	OwnersReceiver *receiver = (OwnersReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->context);
	List	  **rows;
	Datum		row;

	slot_getallattrs(slot);
	*receiver->at = DatumGetInt64(slot->tts_values[slot->tts_nvalid - 1]) - 1;
	rows = &receiver->rows[*receiver->at];
	row = session_take_row_of(receiver->session, receiver->target, slot, 1,
							  receiver->mode);
	*rows = lappend(*rows, DatumGetPointer(row));
	MemoryContextSwitchTo(old);
	return true;
}

static char *
members_all_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	Relationship *relationship = subject->relationship;
	Model	   *target = model_by_relid(relationship->target, false);
	Model	   *links;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "/* pg_orm load %s */ SELECT %s, r.o FROM %s AS t, %s",
					 class_comment(target), session_select_list(target, "t"),
					 target->relation_name, numbered_rows_sql(model));
	if (relationship->direction != RELATIONSHIP_MANY_TO_MANY)
	{
		appendStringInfoString(&sql, " WHERE ");
		append_owner_condition(&sql, model, relationship, target, "t",
							   relationship->remote_attnums, true);
		return sql.data;
	}
	links = relationship_association(relationship);
	appendStringInfo(&sql, ", %s AS s WHERE ", links->relation_name);
	append_owner_condition(&sql, model, relationship, links, "s",
						   relationship->secondary_local, true);
	for (int i = 0; i < relationship->nremote; i++)
		appendStringInfo(&sql, " AND %s",
						 column_equality_sql(links, "s",
											 relationship->secondary_remote[i],
											 target, "t",
											 relationship->remote_attnums[i]));
	return sql.data;
}

List **
collections_load(Session *session, Model *model, int n, Datum *owners,
				 Relationship *relationship, LoadMode mode, int *at)
{
	StatementSubject subject = {
		.kind = STATEMENT_MEMBERS_ALL,
		.model = model,
		.relationship = relationship
	};
	OwnersReceiver receiver = {
		.session = session,
		.target = model_by_relid(relationship->target, false),
		.mode = mode,
		.context = CurrentMemoryContext,
		.rows = palloc0(Max(n, 1) * sizeof(List *)),
		.at = at
	};
	Datum		value;

	*at = 0;
	if (n == 1)
	{
		receiver.rows[0] = members_load(session, model, owners[0],
										relationship, mode);
		return receiver.rows;
	}
	SPI_connect();
	receiver.pub = *None_Receiver;
	receiver.pub.receiveSlot = owners_receive;
	value = PointerGetDatum(construct_array(owners, n, model->rowtype, -1,
											false, TYPALIGN_DOUBLE));
	own_statement_execute(statement_plan(&subject, 1, &model->array_type,
										 members_all_sql), &value, NULL,
						  &receiver.pub);
	SPI_finish();
	return receiver.rows;
}

/* Do the foreign-key columns of a member lead to the owner? */
bool
row_is_member(Model *model, Datum row, Relationship *relationship, Model *target,
		  Datum member)
{
	for (int i = 0; i < relationship->nlocal; i++)
	{
		AttrNumber	local = relationship->local_attnums[i];
		AttrNumber	remote = relationship->remote_attnums[i];
		bool		local_null,
					remote_null;
		Datum		local_value = row_column(model, row, local, &local_null);
		Datum		remote_value = row_column(target, member, remote,
											  &remote_null);

		if (local_null || remote_null ||
			!column_values_equal(target, remote, remote_value, model, local,
								 local_value))
			return false;
	}
	return true;
}

/* Of the stored members, those that the session has not taken away. */
static void
members_keep(Session *session, Model *model, Datum row,
			 Relationship *relationship, List *loaded, MemberSet *members)
{
	bool		many = relationship->direction == RELATIONSHIP_MANY_TO_MANY;
	Model	   *target = members->target;
	ListCell   *cell;

	foreach(cell, loaded)
	{
		Datum		member = PointerGetDatum(lfirst(cell));
		Datum	   *key = member_key(target, member);
		Object	   *object = key ? session_find(session, target, key) : NULL;

		if (object != NULL && object->top->marked_deleted)
			continue;
		/* it may have changed since it was loaded */
		if (object != NULL && object->top->changed != NULL)
			member = row_from_tuple(target, object->top->changed);
		if (many ?
			session_pending_link(session, relationship, row, member) >= 0 :
			row_is_member(model, row, relationship, target, member))
			(void) member_set_add(members, member);
	}
}

/*
 * The row by which an object of the session would be a member: with its
 * pending changes, if they are of the foreign key, or (if what is stored is
 * not read) the one that is known.
 */
static HeapTuple
member_row(Object *object, Bitmapset *columns, bool load)
{
	ObjectVersion *top = object->top;

	if (object->userid != GetUserId() ||
		object->row_security != row_security)
		return NULL;
	if (top->state == OBJECT_PENDING ||
		(top->changed != NULL && !top->marked_deleted &&
		 bms_overlap(top->modified, columns)))
		return top->changed;
	return !load && top->state == OBJECT_PERSISTENT ?
		object_current_row(object) : NULL;
}

/* Members that the session knows, by their foreign keys. */
static void
members_known(Session *session, Model *model, Datum row,
			  Relationship *relationship, bool load, MemberSet *members)
{
	Model	   *target = members->target;
	Bitmapset  *columns = column_set(relationship->nremote,
									 relationship->remote_attnums);
	ListCell   *cell;

	foreach(cell, references_candidates(session, target, relationship->nlocal,
										relationship->remote_attnums, model,
										row, relationship->local_attnums))
	{
		HeapTuple	tuple = member_row(lfirst(cell), columns, load);
		Datum		member;

		if (tuple == NULL)
			continue;
		member = row_from_tuple(target, tuple);
		if (row_is_member(model, row, relationship, target, member))
			(void) member_set_add(members, member);
	}
}

static List *
members_of(Session *session, Model *model, Datum row,
		   Relationship *relationship, bool load, List *loaded)
{
	MemberSet  *members = member_set(model_by_relid(relationship->target,
													false));
	ListCell   *cell;

	members_keep(session, model, row, relationship, loaded, members);
	if (relationship->direction != RELATIONSHIP_MANY_TO_MANY)
		members_known(session, model, row, relationship, load, members);
	else
	{
		foreach(cell, session_linked_targets(session, relationship, row))
			(void) member_set_add(members, PointerGetDatum(lfirst(cell)));
	}
	return members->rows;
}

List *
collection_members(Session *session, Model *model, Datum row,
				   Relationship *relationship, bool load)
{
	return members_of(session, model, row, relationship, load,
					  load ? members_load(session, model, row, relationship,
										  LOAD_MISSING) : NIL);
}

List *
collection_members_of(Session *session, Model *model, Datum row,
					  Relationship *relationship, List *loaded)
{
	return members_of(session, model, row, relationship, true, loaded);
}
