#![no_main]
djr_fuzz::target!(parquet_rows);
