/*-------------------------------------------------------------------------
 *
 * graph.h
 *	  Graphs of objects: relationships in documents, collections, links,
 *	  cascades.  Used within the session module and by documents.
 *
 * Rows are passed as composite Datums, not as Object pointers: what is clean
 * may be forgotten whenever something else is loaded.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_SESSION_GRAPH_H
#define PG_ORM_SESSION_GRAPH_H

#include "utils/jsonb.h"

#include "session/internal.h"
#include "session/unit_of_work.h"

/* ------------------------------------------------------------------------
 * in graph.c: documents with relationships
 * ------------------------------------------------------------------------
 */

/* Foreign-key columns that are known from elsewhere than the document. */
typedef struct ForeignKeyValues
{
	int			n;
	AttrNumber *attnums;
	Datum	   *values;
	bool	   *nulls;
} ForeignKeyValues;

/* Columns of one row as those that reference or are referenced by them. */
extern ForeignKeyValues foreign_key_values(Model *from, Datum row,
										   const AttrNumber *from_attnums,
										   Model *to, AttrNumber *to_attnums,
										   int n);

/* The row with foreign-key columns set; they are added to *given. */
extern Datum row_with_foreign_key(Model *model, Datum row,
								  const ForeignKeyValues *known,
								  Bitmapset **given);

/*
 * The key that a document of columns has, or NULL if a part is missing or
 * null; with it, the document as a row.  The owner's part of a member's key
 * may be left out.
 */
extern Datum *graph_document_key(Model *model, Jsonb *doc,
								 const ForeignKeyValues *known, Datum *row);

/* The object of that key, from the session or from the table, or NULL. */
extern Object *graph_existing(Session *session, Model *model,
							  const Datum *key);

/* 40001 if the row names another version than the object's. */
extern void graph_check_version(Model *model, Object *object, Datum row);

/* Adds an object and all that its document has in it; returns its row. */
extern Datum graph_add(Session *session, Model *model, Jsonb *doc);

/* The same for a plain document (else NULL); the row is the session's own. */
extern HeapTuple graph_add_plain(Session *session, Model *model,
								 const JsonbContainer *doc);

/* Changes the object that row names, and what doc says of its neighbours. */
extern Datum graph_set(Session *session, Model *model, Datum row, Jsonb *doc);

/* Adds or changes, by the key in the row or in doc. */
extern Datum graph_merge_row(Session *session, Model *model, Datum row);
extern Datum graph_merge(Session *session, Model *model, Jsonb *doc);

/* ------------------------------------------------------------------------
 * in members.c: the members of a relationship
 * ------------------------------------------------------------------------
 */

/*
 * The members as the session sees them: List of pointers to rows, of which
 * only the key and the foreign key are sure to be there.  With load the stored
 * ones are read, otherwise only the session's objects are looked at.
 */
extern List *collection_members(Session *session, Model *model, Datum row,
								Relationship *relationship, bool load);

/*
 * The stored members of each of several owners, by one statement.  *at is the
 * number of the owner that it has come to, for error callbacks.
 */
extern List **collections_load(Session *session, Model *model, int n,
							   Datum *owners, Relationship *relationship,
							   LoadMode mode, int *at);

/* collection_members with stored ones that were read before. */
extern List *collection_members_of(Session *session, Model *model, Datum row,
								   Relationship *relationship, List *loaded);

/* Rows of a model, each once, to be found by their keys. */
typedef struct MemberSet MemberSet;

extern MemberSet *member_set_create(Model *target, List *rows);

/* False if a row of that key is there already. */
extern bool member_set_add(MemberSet *set, Datum row);
extern bool member_set_has(const MemberSet *set, Datum row);

/* Do the foreign-key columns of a member lead to the owner? */
extern bool row_is_member(Model *model, Datum row, Relationship *relationship,
						  Model *target, Datum member);

/* ------------------------------------------------------------------------
 * in collection.c: changing them
 * ------------------------------------------------------------------------
 */

/* Takes an object from its owner; an orphan is deleted by the flush. */
extern void member_release(Relationship *relationship, Model *target,
						   Object *object, bool orphan);
extern void collection_append(Session *session, Model *model, Datum row,
							  Relationship *relationship, Datum member);
extern void collection_remove(Session *session, Model *model, Datum row,
							  Relationship *relationship, Datum member);

/* Takes all members of many-to-many relationships. */
extern void collection_unlink_all(Session *session, Model *model, Datum row);

/* Makes the members be exactly those rows. */
extern void collection_replace(Session *session, Model *model, Datum row,
							   Relationship *relationship, List *members);

/*
 * Columns of an object that is not stored yet have changed: pending members
 * and links that refer to them follow.
 */
extern void members_follow(Session *session, Model *model, Datum before,
						   Datum after, Bitmapset *columns);

/* A viewonly relationship is never written: 42809. */
extern void require_writable_relationship(Model *model,
										  Relationship *relationship);

/* ------------------------------------------------------------------------
 * in association.c: links through a secondary table
 * ------------------------------------------------------------------------
 */

/* P0002 if one of the columns is NULL: nothing can refer to them. */
extern void require_referenced(Model *model, Datum row, int n,
							   const AttrNumber *attnums);

extern Object *session_link(Session *session, Relationship *relationship,
							Datum owner, Datum target);
extern Object *session_unlink(Session *session, Relationship *relationship,
							  Datum owner, Datum target);

/* Is there a pending link (1), a pending removal (-1), or neither (0)? */
extern int	session_pending_link(Session *session, Relationship *relationship,
								 Datum owner, Datum target);

/* Pending links of an object that leaves the session before it is stored. */
extern void session_forget_links(Session *session, Model *model, Datum row);

/* Rows of the targets that pending links of the owner lead to. */
extern List *session_linked_targets(Session *session,
									Relationship *relationship, Datum owner);

/* ------------------------------------------------------------------------
 * in cascade.c
 * ------------------------------------------------------------------------
 */
/* What an orm.delete of the object does to its neighbours. */
extern void cascade_delete(Session *session, Model *model, Datum row);

/* What was deleted with the object is not to be deleted any more. */
extern void cascade_undelete(Session *session, Model *model, Datum row);

/*
 * Was the object taken from a collection whose relationship deletes orphans,
 * and given to no other owner since?
 */
extern bool version_is_orphan(Model *model, ObjectVersion *version);

/* The present user's orphans become deleted, with what goes with them. */
extern void cascade_orphans(Session *session);

/* Visits neighbours in the session along relationships with that cascade. */
extern void cascade_visit(Session *session, Model *model, Datum row,
						  int cascade,
						  void (*visit) (Session *session, Model *model,
										 Object *object));

#endif							/* PG_ORM_SESSION_GRAPH_H */
