"""A sweep: settings that are searched for each outer fold inside its training half, and the pages that show what was found."""
