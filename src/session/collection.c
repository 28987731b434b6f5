/*-------------------------------------------------------------------------
 *
 * collection.c
 *	  The members of a relationship: reading them as the session sees them,
 *	  orm.append and orm.remove.
 *
 * Collections are not kept: the foreign keys (or links) are the truth, those
 * of the table with the session's pending changes over them.  Appending and
 * removing neither load nor flush, so that moving a member from one owner to
 * another is never cut in two.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "compat.h"
#include "session/graph.h"
#include "session/internal.h"

typedef struct MembersReceiver
{
	DestReceiver pub;
	Session    *session;
	Model	   *target;
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

typedef struct MemberList
{
	Model	   *target;
	List	   *rows;			/* pointers to composite Datums */
	memberkeys_hash *keys;
} MemberList;

static MemberList
member_list(Model *target)
{
	MemberList	list = {.target = target};

	list.keys = memberkeys_create(CurrentMemoryContext, 8, target);
	return list;
}

/* The key of a row, which may be NULL if a trigger is to make it. */
static Datum *
member_key(Model *target, Datum row)
{
	Datum	   *key = palloc(target->nkeys * sizeof(Datum));

	return model_key_of_row(target, DatumGetHeapTupleHeader(row), key) ? key :
		NULL;
}

static bool
member_list_has(const MemberList *list, Datum row)
{
	Datum	   *key = member_key(list->target, row);

	return key != NULL && memberkeys_lookup(list->keys, key) != NULL;
}

static void
member_list_add(MemberList *list, Datum row)
{
	Datum	   *key = member_key(list->target, row);
	bool		found = false;

	if (key != NULL)
		(void) memberkeys_insert(list->keys, key, &found);
	if (!found)
		list->rows = lappend(list->rows, DatumGetPointer(row));
}

static MemberList
member_list_of(Model *target, List *rows)
{
	MemberList	list = member_list(target);
	ListCell   *cell;

	foreach(cell, rows)
		member_list_add(&list, PointerGetDatum(lfirst(cell)));
	return list;
}

/* ------------------------------------------------------------------------
 * reading members
 * ------------------------------------------------------------------------
 */
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
	for (int i = 0; i < relationship->nlocal; i++)
	{
		Oid			near_type = TupleDescAttr(near->tupdesc,
											  near_attnums[i] - 1)->atttypid;
		Oid			local_type = TupleDescAttr(model->tupdesc,
											   relationship->local_attnums[i] - 1)->atttypid;

		appendStringInfo(&sql, "%s%s.%s %s $%d", i > 0 ? " AND " : "",
						 many ? "s" : "t", column_sql(near, near_attnums[i]),
						 operator_sql(types_equality_required(near_type,
															  local_type)),
						 i + 1);
	}
	if (many)
		appendStringInfoChar(&sql, ')');
	return sql.data;
}

static bool
members_receive(TupleTableSlot *slot, DestReceiver *self)
{
	MembersReceiver *receiver = (MembersReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->context);
	Datum		row = session_take_row(receiver->session, receiver->target,
									   slot, false);

	receiver->rows = lappend(receiver->rows, DatumGetPointer(row));
	MemoryContextSwitchTo(old);
	return true;
}

/* Reads the stored members; none if a local column is NULL. */
static List *
members_load(Session *session, Model *model, Datum row,
			 Relationship *relationship)
{
	StatementSubject subject = {
		.kind = STATEMENT_MEMBERS,
		.model = model,
		.relationship = relationship
	};
	MembersReceiver receiver = {
		.session = session,
		.target = model_by_relid(relationship->target, false),
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

/* Do the foreign-key columns of a member lead to the owner? */
static bool
is_member(Model *model, Datum row, Relationship *relationship, Model *target,
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

bool
rows_have_key(Model *model, List *rows, Datum row)
{
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	Datum	   *other = palloc(model->nkeys * sizeof(Datum));
	ListCell   *cell;

	if (!model_key_of_row(model, DatumGetHeapTupleHeader(row), key))
		return false;
	foreach(cell, rows)
	{
		HeapTupleHeader header =
			DatumGetHeapTupleHeader(PointerGetDatum(lfirst(cell)));

		if (model_key_of_row(model, header, other) &&
			model_key_equal(model, key, other))
			return true;
	}
	return false;
}

/* Of the stored members, those that the session has not taken away. */
static void
members_keep(Session *session, Model *model, Datum row,
			 Relationship *relationship, List *loaded, MemberList *members)
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
		if (many ?
			session_pending_link(session, relationship, row, member) >= 0 :
			is_member(model, row, relationship, target, member))
			member_list_add(members, member);
	}
}

static List *
all_objects(Session *session, Model *model)
{
	List	   *result = NIL;
	dlist_iter	iter;

	dlist_foreach(iter, &model_objects(session, model)->objects)
		result = lappend(result,
						 dlist_container(Object, model_node, iter.cur));
	return result;
}

/* Objects of the session that may be members: by an index, if it can be. */
static List *
member_candidates(Session *session, Model *model, Datum row,
				  Relationship *relationship, Model *target)
{
	int			n = relationship->nlocal;
	Datum	   *values = palloc(n * sizeof(Datum));
	bool		same_types = true;
	List	   *objects;

	for (int i = 0; i < n; i++)
	{
		AttrNumber	local = relationship->local_attnums[i];
		AttrNumber	remote = relationship->remote_attnums[i];
		bool		isnull;

		values[i] = row_column(model, row, local, &isnull);
		if (isnull)
			return NIL;
		same_types &= TupleDescAttr(model->tupdesc, local - 1)->atttypid ==
			TupleDescAttr(target->tupdesc, remote - 1)->atttypid;
	}
	if (same_types && references_find(session, target, n,
									  relationship->remote_attnums, values,
									  &objects))
		return objects;
	return all_objects(session, target);
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
			  Relationship *relationship, bool load, MemberList *members)
{
	Model	   *target = members->target;
	Bitmapset  *columns = column_set(relationship->nremote,
									 relationship->remote_attnums);
	ListCell   *cell;

	foreach(cell, member_candidates(session, model, row, relationship, target))
	{
		HeapTuple	tuple = member_row(lfirst(cell), columns, load);
		Datum		member;

		if (tuple == NULL)
			continue;
		member = row_from_tuple(target, tuple);
		if (is_member(model, row, relationship, target, member))
			member_list_add(members, member);
	}
}

List *
collection_members(Session *session, Model *model, Datum row,
				   Relationship *relationship, bool load)
{
	MemberList	members = member_list(model_by_relid(relationship->target,
													 false));
	ListCell   *cell;

	if (load)
		members_keep(session, model, row, relationship,
					 members_load(session, model, row, relationship),
					 &members);
	if (relationship->direction != RELATIONSHIP_MANY_TO_MANY)
		members_known(session, model, row, relationship, load, &members);
	else
	{
		foreach(cell, session_linked_targets(session, relationship, row))
			member_list_add(&members, PointerGetDatum(lfirst(cell)));
	}
	return members.rows;
}

/* ------------------------------------------------------------------------
 * changing members
 * ------------------------------------------------------------------------
 */
void
require_writable_relationship(Model *model, Relationship *relationship)
{
	if (relationship->viewonly)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relationship \"%s\" of %s is viewonly",
						relationship->name, model->class_name)));
}

/* The member as an object of the session, its row known or not. */
static Object *
member_object(Session *session, Model *target, Datum member)
{
	Datum	   *key = object_key_required(target,
										  DatumGetHeapTupleHeader(member));
	Object	   *object = session_find(session, target, key);

	if (object == NULL)
		object = object_create(session, target, key, OBJECT_PERSISTENT);
	else if (object->top->state == OBJECT_DELETED)
		require_not_deleted(target, object);
	return object;
}

/* Sets columns of an object whose row need not be known. */
static void
member_set_columns(Model *target, Object *object, int n,
				   const AttrNumber *attnums, const Datum *values,
				   const bool *nulls)
{
	Bitmapset  *columns = column_set(n, attnums);
	HeapTuple	current = object_current_row(object);
	ObjectVersion *version;
	Datum		row;

	if (current != NULL)
	{
		row = row_with_columns(target, row_from_tuple(target, current), n,
							   attnums, values, nulls);
		session_set(target, object, row, columns);
		return;
	}
	access_require(target, ACL_UPDATE, columns);
	access_lock(target);
	version = object_touch(object);
	row = version->changed ? row_from_tuple(target, version->changed) :
		row_of_key(target, object_key(object));
	row = row_with_columns(target, row, n, attnums, values, nulls);
	version_take_changes(version, row_to_tuple(row),
						 bms_union(version->modified, columns));
	object_changed(object);
}

static void
member_assign(Model *model, Datum row, Relationship *relationship,
			  Model *target, Object *object)
{
	int			n = relationship->nremote;
	Datum	   *values = palloc(n * sizeof(Datum));
	bool	   *nulls = palloc(n * sizeof(bool));

	for (int i = 0; i < n; i++)
	{
		AttrNumber	local = relationship->local_attnums[i];
		Form_pg_attribute column = TupleDescAttr(target->tupdesc,
												 relationship->remote_attnums[i] - 1);

		values[i] = row_column(model, row, local, &nulls[i]);
		if (!nulls[i])
			values[i] = convert_value(values[i],
									  TupleDescAttr(model->tupdesc,
													local - 1)->atttypid,
									  column->atttypid, column->atttypmod);
	}
	/* given to an owner, it is no longer to be deleted */
	session_undelete(target, object);
	member_set_columns(target, object, n, relationship->remote_attnums,
					   values, nulls);
}

static void
require_nullable(Model *target, Relationship *relationship)
{
	for (int i = 0; i < relationship->nremote; i++)
	{
		AttrNumber	attnum = relationship->remote_attnums[i];

		if (!TupleDescAttr(target->tupdesc, attnum - 1)->attnotnull)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("%s of %s would become NULL, but must not be NULL",
						column_sql(target, attnum), target->class_name),
				 errdetail("It leads to an object that is deleted or whose \"%s\" no longer has it.",
						   relationship->name),
				 errhint("Give it another owner, delete it, or declare the relationship with cascade => 'all, delete-orphan' or passive_deletes."),
				 err_generic_string(PG_DIAG_TABLE_NAME,
									get_rel_name(target->relid)),
				 err_generic_string(PG_DIAG_COLUMN_NAME,
									NameStr(TupleDescAttr(target->tupdesc,
														  attnum - 1)->attname))));
	}
}

/* Takes a member from its owner: NULL in its foreign key. */
void
member_release(Relationship *relationship, Model *target, Object *object,
			   bool orphan)
{
	int			n = relationship->nremote;
	Datum	   *values = palloc0(n * sizeof(Datum));
	bool	   *nulls = palloc(n * sizeof(bool));

	if (orphan && object->top->state == OBJECT_PENDING)
	{
		session_delete(target, object);
		return;
	}
	if (orphan)
		access_require(target, ACL_DELETE, NULL);
	else
		require_nullable(target, relationship);
	memset(nulls, true, n * sizeof(bool));
	member_set_columns(target, object, n, relationship->remote_attnums,
					   values, nulls);
	if (orphan)
		object_touch(object)->orphan_attnum = relationship->remote_attnums[0];
}

/* 55000 if the session knows the object as deleted. */
static void
require_alive(Session *session, Model *model, Datum row)
{
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	Object	   *object;

	if (!model_key_of_row(model, DatumGetHeapTupleHeader(row), key))
		return;
	object = session_find(session, model, key);
	if (object != NULL)
		require_not_deleted(model, object);
}

void
collection_append(Session *session, Model *model, Datum row,
				  Relationship *relationship, Datum member)
{
	Model	   *target = model_by_relid(relationship->target, false);

	require_writable_relationship(model, relationship);
	require_alive(session, model, row);
	if (relationship->direction == RELATIONSHIP_MANY_TO_MANY)
	{
		require_alive(session, target, member);
		session_link(session, relationship, row, member);
	}
	else
		member_assign(model, row, relationship, target,
					  member_object(session, target, member));
}

void
collection_remove(Session *session, Model *model, Datum row,
				  Relationship *relationship, Datum member)
{
	Model	   *target = model_by_relid(relationship->target, false);
	Object	   *object;
	HeapTuple	current;

	require_writable_relationship(model, relationship);
	if (relationship->direction == RELATIONSHIP_MANY_TO_MANY)
	{
		session_unlink(session, relationship, row, member);
		return;
	}
	/* only its row tells whose it is */
	object = session_object(session, target, DatumGetHeapTupleHeader(member));
	require_not_deleted(target, object);
	current = object_current_row(object);
	if (!is_member(model, row, relationship, target,
				   row_from_tuple(target, current)))
		return;					/* it is not the owner's */
	member_release(relationship, target, object,
				   relationship->cascade & CASCADE_DELETE_ORPHAN);
}

void
collection_unlink_all(Session *session, Model *model, Datum row)
{
	for (int i = 0; i < model->nrelationships; i++)
	{
		Relationship *relationship = model->relationships[i];
		ListCell   *cell;

		if (relationship->direction != RELATIONSHIP_MANY_TO_MANY ||
			relationship->viewonly)
			continue;
		foreach(cell, collection_members(session, model, row, relationship,
										 true))
			session_unlink(session, relationship, row,
						   PointerGetDatum(lfirst(cell)));
	}
}

/* Does the relationship lead to others by one of these columns? */
static bool
leads_by_columns(Relationship *relationship, Bitmapset *columns)
{
	return relationship->direction != RELATIONSHIP_MANY_TO_ONE &&
		!relationship->viewonly &&
		bms_overlap(columns, column_set(relationship->nlocal,
										relationship->local_attnums));
}

static void
member_follow(Session *session, Model *model, Datum row,
			  Relationship *relationship, Datum member)
{
	Model	   *target = model_by_relid(relationship->target, false);

	if (relationship->direction == RELATIONSHIP_MANY_TO_MANY)
		session_link(session, relationship, row, member);
	else
		member_assign(model, row, relationship, target,
					  member_object(session, target, member));
}

void
members_follow(Session *session, Model *model, Datum before, Datum after,
			   Bitmapset *columns)
{
	List	  **members = palloc0(model->nrelationships * sizeof(List *));
	bool		any = false;
	ListCell   *cell;

	for (int i = 0; i < model->nrelationships; i++)
		any |= leads_by_columns(model->relationships[i], columns);
	if (!any)
		return;
	for (int i = 0; i < model->nrelationships; i++)
	{
		if (leads_by_columns(model->relationships[i], columns))
			members[i] = collection_members(session, model, before,
											model->relationships[i], false);
	}
	session_forget_links(session, model, before);
	for (int i = 0; i < model->nrelationships; i++)
	{
		foreach(cell, members[i])
			member_follow(session, model, after, model->relationships[i],
						  PointerGetDatum(lfirst(cell)));
	}
}

void
collection_replace(Session *session, Model *model, Datum row,
				   Relationship *relationship, List *members)
{
	Model	   *target = model_by_relid(relationship->target, false);
	MemberList	old = member_list_of(target,
									 collection_members(session, model, row,
														relationship, true));
	MemberList	new = member_list_of(target, members);
	ListCell   *cell;

	foreach(cell, old.rows)
	{
		if (!member_list_has(&new, PointerGetDatum(lfirst(cell))))
			collection_remove(session, model, row, relationship,
							  PointerGetDatum(lfirst(cell)));
	}
	foreach(cell, new.rows)
	{
		if (!member_list_has(&old, PointerGetDatum(lfirst(cell))))
			collection_append(session, model, row, relationship,
							  PointerGetDatum(lfirst(cell)));
	}
}

/* ------------------------------------------------------------------------
 * SQL
 * ------------------------------------------------------------------------
 */
static Relationship *
collection_argument(FunctionCallInfo fcinfo, Model *model)
{
	Relationship *relationship;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the name of the relationship is NULL")));
	relationship = model_relationship(model,
									  text_to_cstring(PG_GETARG_TEXT_PP(1)),
									  false);
	if (!relationship->uselist)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relationship \"%s\" of %s is scalar, not a collection",
						relationship->name, model->class_name),
				 errhint("Use orm.set(object, '{\"%s\": ...}').",
						 relationship->name)));
	return relationship;
}

static Datum
member_argument(FunctionCallInfo fcinfo, Relationship *relationship)
{
	Model	   *target = model_by_relid(relationship->target, false);
	HeapTupleHeader member;

	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("no object given"),
				 errdetail("The member is NULL.")));
	member = PG_GETARG_HEAPTUPLEHEADER(2);
	if (HeapTupleHeaderGetTypeId(member) != target->rowtype)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a member of \"%s\" must be a row of %s, not of type %s",
						relationship->name, target->class_name,
						format_type_be(HeapTupleHeaderGetTypeId(member)))));
	return PG_GETARG_DATUM(2);
}

/* The owner's row: as it is given if only its key is wanted, else loaded. */
static Datum
owner_argument(FunctionCallInfo fcinfo, Session *session, Model *model,
			   Relationship *relationship)
{
	HeapTupleHeader row = PG_ARGISNULL(0) ? NULL :
	PG_GETARG_HEAPTUPLEHEADER(0);
	Datum	   *key = object_key_required(model, row);

	for (int i = 0; i < relationship->nlocal; i++)
	{
		bool		in_key = false;

		for (int k = 0; k < model->nkeys; k++)
			in_key |= model->keys[k].attnum == relationship->local_attnums[i];
		if (!in_key)
			return row_from_tuple(model,
								  object_current_row(session_object(session,
																	model,
																	row)));
	}
	return row_of_key(model, key);
}

static void
change_members(FunctionCallInfo fcinfo, const char *call,
			   void (*change) (Session *session, Model *model, Datum row,
							   Relationship *relationship, Datum member))
{
	Model	   *model = model_from_argument(fcinfo, 0);
	Session    *session = session_current();
	Relationship *relationship;
	Datum		owner;

	session_require_writable(call);
	relationship = collection_argument(fcinfo, model);
	require_writable_relationship(model, relationship);
	owner = owner_argument(fcinfo, session, model, relationship);
	change(session, model, owner, relationship,
		   member_argument(fcinfo, relationship));
}

PG_FUNCTION_INFO_V1(orm_append);
Datum
orm_append(PG_FUNCTION_ARGS)
{
	change_members(fcinfo, "orm.append()", collection_append);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(orm_remove);
Datum
orm_remove(PG_FUNCTION_ARGS)
{
	change_members(fcinfo, "orm.remove()", collection_remove);
	PG_RETURN_VOID();
}
