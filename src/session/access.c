/*-------------------------------------------------------------------------
 *
 * access.c
 *	  Privileges of session calls, checked where the mistake is made and not
 *	  only by the statement that the flush runs later.
 *
 * Every answer comes from PostgreSQL's own ACL functions.  The last ones are
 * kept, since calls on objects come in series: a GRANT or REVOKE invalidates
 * the relation and so moves the generation of the metadata, and a change of
 * roles or their memberships moves one of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaddress.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "compat.h"
#include "session/internal.h"

/* Moves with every change of roles. */
static uint64 roles_generation = 0;

static void
roles_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	roles_generation++;
}

void
access_init(void)
{
	CacheRegisterSyscacheCallback(AUTHOID, roles_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_callback, (Datum) 0);
}

static ObjectType
relation_object_type(Model *model)
{
	return get_relkind_objtype(model->relkind);
}

void
access_lock(Model *model)
{
	static Oid	last_relid;
	static LocalTransactionId last_lxid;
	static SubTransactionId last_subid;

	/* held until the end of this subtransaction at least */
	if (last_relid == model->relid && last_lxid == compat_my_lxid() &&
		last_subid == GetCurrentSubTransactionId())
		return;
	LockRelationOid(model->relid, AccessShareLock);
	last_relid = model->relid;
	last_lxid = compat_my_lxid();
	last_subid = GetCurrentSubTransactionId();
}

/*
 * Has the user the privilege on the whole relation?  What was granted is kept
 * for the relation last asked about.
 */
static bool
has_relation_privilege(Model *model, AclMode mode)
{
	static Oid	last_relid,
				last_userid;
	static AclMode last_granted;
	static uint64 last_generation,
				last_roles;
	static LocalTransactionId last_lxid;

	if (last_relid != model->relid || last_userid != GetUserId() ||
		last_generation != model_generation() ||
		last_roles != roles_generation || last_lxid != compat_my_lxid())
	{
		last_granted = ACL_NO_RIGHTS;
		last_relid = model->relid;
		last_userid = GetUserId();
		last_generation = model_generation();
		last_roles = roles_generation;
		last_lxid = compat_my_lxid();
	}
	if ((last_granted & mode) == mode)
		return true;
	if (pg_class_aclcheck(model->relid, GetUserId(), mode) != ACLCHECK_OK)
		return false;
	/* looking may have brought news */
	if (last_relid == model->relid && last_generation == model_generation() &&
		last_roles == roles_generation)
		last_granted |= mode;
	return true;
}

void
access_require(Model *model, AclMode mode, Bitmapset *columns)
{
	Oid			userid = GetUserId();
	int			member = -1;

	if (has_relation_privilege(model, mode))
		return;
	if (mode != ACL_DELETE && !bms_is_empty(columns))
	{
		while ((member = bms_next_member(columns, member)) >= 0)
		{
			AttrNumber	attnum = member_column(member);

			if (pg_attribute_aclcheck(model->relid, attnum, userid,
									  mode) != ACLCHECK_OK)
				break;
		}
		if (member < 0)
			return;
	}
	aclcheck_error(ACLCHECK_NO_PRIV, relation_object_type(model),
				   get_rel_name(model->relid));
}

/* Every column of the row type that is not dropped. */
static Bitmapset *
all_columns(Model *model)
{
	Bitmapset  *result = NULL;

	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		if (!TupleDescAttr(model->tupdesc, i)->attisdropped)
			result = bms_add_member(result, column_member(i + 1));
	}
	return result;
}

void
access_require_select(Model *model)
{
	if (!has_relation_privilege(model, ACL_SELECT))
		access_require(model, ACL_SELECT, all_columns(model));
}

/* The answer for a model, as long as nothing that it depends on changes. */
typedef struct MemoryAccess
{
	Oid			relid;
	Oid			userid;
	bool		row_security;
	uint64		generation;
	uint64		roles;
	LocalTransactionId lxid;
	bool		suffices;
} MemoryAccess;

/*
 * Row security may depend on anything, so under it a row in memory proves
 * nothing; what a view or a foreign table checks is not known here at all.
 */
static bool
memory_access_check(Model *model)
{
	access_require_select(model);
	if (model->relkind != RELKIND_RELATION &&
		model->relkind != RELKIND_PARTITIONED_TABLE)
		return false;
	return check_enable_rls(model->relid, InvalidOid, true) != RLS_ENABLED;
}

bool
access_memory_suffices(Model *model)
{
	static MemoryAccess last;

	if (last.relid != model->relid || last.userid != GetUserId() ||
		last.row_security != row_security ||
		last.generation != model_generation() ||
		last.roles != roles_generation ||
		last.lxid != compat_my_lxid())
	{
		last.relid = InvalidOid;
		last.suffices = memory_access_check(model);
		last.userid = GetUserId();
		last.row_security = row_security;
		last.generation = model_generation();
		last.roles = roles_generation;
		last.lxid = compat_my_lxid();
		last.relid = model->relid;
	}
	return last.suffices;
}
