SELECT rows FROM dryrun.baseline WHERE kind = $1
