GRANT {privileges} ON {kind} {objects} TO {grantee} WITH GRANT OPTION
