-- One row a document: its title is how it is called, its body what is searched and read. Lines of a paragraph are joined, as
-- docstrings are broken at the width of a screen; examples of the interpreter are dropped, as they answer no question.
with cleaned as (
    select
        id, module, signature as title,
        trim(regexp_replace(regexp_replace(docstring, '>>>[^\n]*(\n[^\n]+)*', '', 'g'), '\s+', ' ', 'g')) as text
    from bronze.docstrings
)
select id, module, title, title || E'\n' || text as body
from cleaned
where length(text) >= 40
