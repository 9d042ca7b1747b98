ALTER ROLE {role} {attributes}
