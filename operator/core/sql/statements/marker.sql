SELECT {text} AS marker
