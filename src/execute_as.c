/*-------------------------------------------------------------------------
 *
 * execute_as.c
 *	  Statements that are executed as somebody else: on the config tables as
 *	  their owner, on what a table's owner is to own as that one.
 *
 * Nothing of the caller's settings may change what such a statement means, so
 * it has a search_path of its own.  An error restores the user and the
 * settings with the (sub)transaction.  Memory and locks are those of SPI.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "execute_as.h"

uint64
execute_as(Oid role, int security, const char *sql, int nargs, Oid *types,
		   Datum *values, const char *nulls)
{
	Oid			save_user;
	int			save_context;
	int			save_nestlevel;
	uint64		processed;
	int			result;

	GetUserIdAndSecContext(&save_user, &save_context);
	SetUserIdAndSecContext(role, save_context | security |
						   SECURITY_LOCAL_USERID_CHANGE);
	save_nestlevel = NewGUCNestLevel();
	set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
					  PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	result = SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s",
			 SPI_result_code_string(result));
	processed = SPI_processed;
	SPI_finish();
	AtEOXact_GUC(false, save_nestlevel);
	SetUserIdAndSecContext(save_user, save_context);
	return processed;
}
