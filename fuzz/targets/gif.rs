#![no_main]
djr_fuzz::target!(gif);
