from .sensors import check_sensor as check_sensor
from .tasks import check_task as check_task
