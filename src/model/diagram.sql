-- ---------------------------------------------------------------------------
-- model/diagram: the models as a picture
-- ---------------------------------------------------------------------------

CREATE FUNCTION orm.diagram(format text = 'mermaid') RETURNS text
	AS 'MODULE_PATHNAME', 'orm_diagram' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION orm.diagram(text) IS
'The mapped classes and their relationships as an entity-relationship diagram,
in the language of Mermaid (''mermaid'') or of Graphviz (''dot'').
Errors: 22023 another format.
Example: SELECT orm.diagram();';
