#![no_main]
djr_fuzz::target!(tar_rows);
