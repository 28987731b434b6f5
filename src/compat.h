/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  The only place with guards for PostgreSQL versions (15 to 18).
 *
 * Each shim says what changed and when.  Everything else in the tree is
 * written against one interface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_COMPAT_H
#define PG_ORM_COMPAT_H

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "storage/proc.h"
#include "utils/acl.h"

#if PG_VERSION_NUM < 150001 || PG_VERSION_NUM >= 190000
#error "pg_orm supports PostgreSQL 15 to 18"
#endif

/* 16 moved the varlena macros out of postgres.h */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 17 added pg_prefetch_mem() */
#if defined(__GNUC__)
#define compat_prefetch(address) __builtin_prefetch(address)
#else
#define compat_prefetch(address) ((void) (address))
#endif

/* 16 replaced pg_class_ownercheck() and its kin by one function */
#if PG_VERSION_NUM >= 160000
#define compat_class_ownercheck(relid, role) \
	object_ownercheck(RelationRelationId, (relid), (role))
#define compat_database_ownercheck(dbid, role) \
	object_ownercheck(DatabaseRelationId, (dbid), (role))
#define compat_namespace_aclcheck(nspid, role, mode) \
	object_aclcheck(NamespaceRelationId, (nspid), (role), (mode))
#define compat_proc_aclcheck(procid, role, mode) \
	object_aclcheck(ProcedureRelationId, (procid), (role), (mode))
#define compat_type_aclcheck(typid, role, mode) \
	object_aclcheck(TypeRelationId, (typid), (role), (mode))
#else
#define compat_class_ownercheck(relid, role) \
	pg_class_ownercheck((relid), (role))
#define compat_database_ownercheck(dbid, role) \
	pg_database_ownercheck((dbid), (role))
#define compat_namespace_aclcheck(nspid, role, mode) \
	pg_namespace_aclcheck((nspid), (role), (mode))
#define compat_proc_aclcheck(procid, role, mode) \
	pg_proc_aclcheck((procid), (role), (mode))
#define compat_type_aclcheck(typid, role, mode) \
	pg_type_aclcheck((typid), (role), (mode))
#endif

/* 16 added soft errors */
#if PG_VERSION_NUM >= 160000
#define compat_qualified_name_list(string) \
	stringToQualifiedNameList((string), NULL)
#else
#define compat_qualified_name_list(string) stringToQualifiedNameList(string)
#endif

/*
 * 17 made the local transaction id part of a struct.
 */
#if PG_VERSION_NUM >= 170000
#define compat_my_lxid() (MyProc->vxid.lxid)
#else
#define compat_my_lxid() (MyProc->lxid)
#endif

/*
 * 18 replaced pg_attribute_noreturn() by a prefix.
 */
#ifndef pg_noreturn
#define pg_noreturn __attribute__((noreturn))
#endif

/*
 * 18 split commands/explain.h.
 */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/*
 * 18 dropped the argument execute_once of ExecutorRun and of its hook.
 */
#if PG_VERSION_NUM >= 180000
#define COMPAT_EXECUTOR_RUN_ARGS \
	QueryDesc *query_desc, ScanDirection direction, uint64 count
#define COMPAT_EXECUTOR_RUN_PASS query_desc, direction, count
#else
#define COMPAT_EXECUTOR_RUN_ARGS \
	QueryDesc *query_desc, ScanDirection direction, uint64 count, \
	bool execute_once
#define COMPAT_EXECUTOR_RUN_PASS query_desc, direction, count, execute_once
#endif

/*
 * 16 moved the permissions of a plan's relations to a list of their own.
 */
#if PG_VERSION_NUM >= 160000
#define compat_check_permissions(stmt, raise) \
	ExecCheckPermissions((stmt)->rtable, (stmt)->permInfos, (raise))
#else
#define compat_check_permissions(stmt, raise) \
	ExecCheckRTPerms((stmt)->rtable, (raise))
#endif

/*
 * 18 added the instrumentation to the arguments.
 */
#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(table, index, snapshot, nkeys) \
	index_beginscan((table), (index), (snapshot), NULL, (nkeys), 0)
#else
#define compat_index_beginscan(table, index, snapshot, nkeys) \
	index_beginscan((table), (index), (snapshot), (nkeys), 0)
#endif

/*
 * 18 lets RETURNING rename OLD and NEW.
 */
#if PG_VERSION_NUM >= 180000
#define compat_has_returning(stmt) ((stmt)->returningClause != NULL)
#else
#define compat_has_returning(stmt) ((stmt)->returningList != NIL)
#endif

/*
 * 18 has virtual generated columns besides the stored ones.
 */
#if PG_VERSION_NUM >= 180000
#define compat_has_generated(constr) \
	((constr)->has_generated_stored || (constr)->has_generated_virtual)
#else
#define compat_has_generated(constr) ((constr)->has_generated_stored)
#endif

/*
 * Security releases of 2026 store a version in row datums, which the classic
 * three macros do not set.  The macro is tested, not the version number,
 * since the change came with a minor release.
 */
static inline void
compat_tuple_set_datum(HeapTupleHeader header, TupleDesc tupdesc, uint32 len)
{
#ifdef HEAP_IS_DATUM
	heap_tuple_set_datum(header, tupdesc, len);
#else
	HeapTupleHeaderSetDatumLength(header, len);
	HeapTupleHeaderSetTypeId(header, tupdesc->tdtypeid);
	HeapTupleHeaderSetTypMod(header, tupdesc->tdtypmod);
#endif
}

#endif							/* PG_ORM_COMPAT_H */
