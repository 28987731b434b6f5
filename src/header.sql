\echo Use "CREATE EXTENSION pg_orm" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;

-- The schema is a member of the extension: DROP EXTENSION takes it along, and
-- one that is there already, whoever owns it, is refused.
CREATE SCHEMA orm;

COMMENT ON SCHEMA orm IS
'pg_orm, an object-relational mapper: models, relationships, sessions, queries. SELECT * FROM orm.models shows what is mapped.';

GRANT USAGE ON SCHEMA orm TO PUBLIC;
