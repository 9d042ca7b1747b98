GRANT {role} TO {member}
