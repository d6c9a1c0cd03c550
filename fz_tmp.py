from pathlib import Path
from experiments.claims.own_rows import make_rows
from experiments.common.program import composed
from experiments.studies.diagnosis.run import diagnose
F=Path("/tmp/own_b/big"); F.mkdir(exist_ok=True)
m=make_rows(F,1500,24,0)
diagnose(composed("diagnose",f"data={m.rows}",f"features={m.features}","rows.permutations=19"),F/"out")
