GRANT {role} TO {member} WITH ADMIN {admin}, INHERIT {inherit}, SET {set}
