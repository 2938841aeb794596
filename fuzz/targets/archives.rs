#![no_main]
djr_fuzz::target!(archives);
