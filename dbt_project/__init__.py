"""dbt_project room of caseness."""
