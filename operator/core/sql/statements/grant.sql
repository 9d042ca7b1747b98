GRANT {privileges} ON {kind} {objects} TO {grantee}
