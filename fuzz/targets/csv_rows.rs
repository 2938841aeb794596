#![no_main]
djr_fuzz::target!(csv_rows);
