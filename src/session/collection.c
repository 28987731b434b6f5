/*-------------------------------------------------------------------------
 *
 * collection.c
 *	  Changing the members of a relationship: orm.append and orm.remove.
 *
 * Appending and removing neither load nor flush, so that moving a member from
 * one owner to another is never cut in two.
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
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "compat.h"
#include "session/graph.h"
#include "session/internal.h"

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
	ForeignKeyValues known;

	require_referenced(model, row, relationship->nlocal,
					   relationship->local_attnums);
	known = foreign_key_values(model, row, relationship->local_attnums, target,
							   relationship->remote_attnums,
							   relationship->nremote);
	/* given to an owner, it is no longer to be deleted */
	session_undelete(target, object);
	member_set_columns(target, object, known.n, known.attnums, known.values,
					   known.nulls);
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
	if (!row_is_member(model, row, relationship, target,
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
	List	   *old_members = collection_members(session, model, row,
												 relationship, true);
	MemberSet  *old = member_set_create(target, old_members);
	MemberSet  *new = member_set_create(target, members);
	ListCell   *cell;

	foreach(cell, old_members)
	{
		if (!member_set_has(new, PointerGetDatum(lfirst(cell))))
			collection_remove(session, model, row, relationship,
							  PointerGetDatum(lfirst(cell)));
	}
	foreach(cell, members)
	{
		if (!member_set_has(old, PointerGetDatum(lfirst(cell))))
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
